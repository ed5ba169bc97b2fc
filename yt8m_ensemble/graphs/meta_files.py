"""Meta graph files (`.meta`): the graph contract of the official readers on disk.

Reads those of any code that follows the contract, and writes those that TensorFlow 1.14 loads.
Never touches weights.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from google.protobuf.message import DecodeError

from yt8m_ensemble import files
from yt8m_ensemble.errors import CheckpointNotFoundError, GraphError
from yt8m_ensemble.graphs.model_graph import ModelGraph, from_tf_graph, node_name
from yt8m_ensemble.values import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONTRACT = ("input_batch_raw", "num_frames", "predictions")
MEMBERS_COLLECTION = "member_predictions"


def read_meta_graph(path: str) -> Any:
    """Read a meta graph as it stands.

    Args:
        path: The `.meta` file.

    Returns:
        A `MetaGraphDef`.

    Raises:
        CheckpointNotFoundError: If there is no such file.
        GraphError: If it is no meta graph.
    """
    if not files.exists(path):
        msg = f"There is no meta graph at '{path}'. Export the model, or give its train directory."
        raise CheckpointNotFoundError(msg, path=path)
    meta = tf.compat.v1.MetaGraphDef()
    try:
        meta.ParseFromString(files.read_bytes(path))
    except DecodeError as error:
        msg = f"'{path}' is no meta graph ({error}). Export the model again."
        raise GraphError(msg, path=path) from error
    return meta


def load_meta_graph(path: str) -> ModelGraph:
    """Read a meta graph and cut it to its inference part.

    Args:
        path: The `.meta` file.

    Returns:
        The graph from `input_batch_raw` and `num_frames` to `predictions`.

    Raises:
        GraphError: If it lacks a collection of the contract or cannot be imported.
    """
    meta = read_meta_graph(path)
    missing = [name for name in CONTRACT if not meta.collection_def[name].node_list.value]
    if missing:
        msg = (
            f"'{path}' lacks the collections {', '.join(missing)}, which name a graph's inputs and "
            "predictions. Export the model with the code that trained it."
        )
        raise GraphError(msg, path=path, missing=missing)
    tensors = {name: meta.collection_def[name].node_list.value[0] for name in CONTRACT}
    for node in meta.graph_def.node:
        node.device = ""
    graph = tf.Graph()
    try:
        with graph.as_default():
            tf.import_graph_def(meta.graph_def, name="")
        return from_tf_graph(
            graph,
            inputs=tensors["input_batch_raw"],
            num_frames=tensors["num_frames"],
            predictions=tensors["predictions"],
            keys=_checkpoint_keys(meta.graph_def),
            members=dict(_read_members(meta)),
        )
    except GraphError:
        raise
    except (ValueError, KeyError) as error:
        msg = f"The graph in '{path}' cannot be loaded: {error}"
        raise GraphError(msg, path=path) from error


def write_meta_graph(model_graph: ModelGraph, path: str) -> None:
    """Write a meta graph that the official readers of TensorFlow 1 load.

    It holds the inference part, a saver over all variables, and the three collections of the
    contract; for an ensemble also `member_predictions`, tensor names that start with the member's.

    Args:
        model_graph: What to write.
        path: The `.meta` file, replaced if it exists.
    """
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(model_graph.graph_def, name="")
        saver_def = _add_saver(graph, model_graph.variables)
        for name, tensor in zip(
            CONTRACT,
            (model_graph.inputs, model_graph.num_frames, model_graph.predictions),
            strict=True,
        ):
            graph.add_to_collection(name, graph.get_tensor_by_name(tensor))
        for name, tensor in model_graph.members.items():
            graph.add_to_collection(MEMBERS_COLLECTION, f"{name}={tensor}".encode())
        # Old readers refuse attributes that they do not know, even at their defaults; and without
        # the list of operations they cannot tell which of the absent ones have defaults.
        meta = tf.compat.v1.train.export_meta_graph(
            graph=graph, saver_def=saver_def, strip_default_attrs=True
        )
    with files.atomic_file(path, force=True) as part, files.open_binary(part, "wb") as file:
        file.write(meta.SerializeToString(deterministic=True))


def _add_saver(graph: tf.Graph, variables: Mapping[str, TensorSpec]) -> Any:
    specs = list(variables.values())
    tensors = [graph.get_tensor_by_name(f"{name}:0") for name in variables]
    with tf.name_scope("save/"):
        prefix = tf.constant("model", name="Const")
        keys = tf.constant([spec.name for spec in specs], name="tensor_names")
        slices = tf.constant([""] * len(specs), name="shape_and_slices")
        saved = tf.raw_ops.SaveV2(
            prefix=prefix,
            tensor_names=keys,
            shape_and_slices=slices,
            tensors=tensors,
            name="SaveV2",
        )
        with tf.control_dependencies([saved]):
            written = tf.identity(prefix, name="control_dependency")
        restored = tf.raw_ops.RestoreV2(
            prefix=prefix,
            tensor_names=keys,
            shape_and_slices=slices,
            dtypes=[tensor.dtype.base_dtype for tensor in tensors],
            name="RestoreV2",
        )
        assigned = [
            tf.raw_ops.Assign(ref=tensor, value=value, name=f"Assign_{position}")
            for position, (tensor, value) in enumerate(zip(tensors, restored, strict=True))
        ]
        with tf.control_dependencies(assigned):
            restore = tf.no_op(name="restore_all")
    return tf.compat.v1.train.SaverDef(
        filename_tensor_name=prefix.name,
        save_tensor_name=written.name,
        restore_op_name=restore.name,
        max_to_keep=5,
        keep_checkpoint_every_n_hours=10_000,
        version=tf.compat.v1.train.SaverDef.V2,
    )


def _read_members(meta: Any) -> Iterator[tuple[str, str]]:
    for entry in meta.collection_def[MEMBERS_COLLECTION].bytes_list.value:
        name, _, tensor = entry.decode().rpartition("=")
        yield name, tensor


def _checkpoint_keys(graph_def: Any) -> dict[str, TensorSpec]:
    """Return the checkpoint tensor by variable node, as the graph's own saver restores it."""
    nodes = {node.name: node for node in graph_def.node}
    keys: dict[str, TensorSpec] = {}
    for node in graph_def.node:
        if node.op != "Assign":
            continue
        source, _, output = node.input[1].partition(":")
        restore, variable = nodes.get(source), nodes.get(node_name(node.input[0]))
        if restore is None or restore.op != "RestoreV2" or variable is None:
            continue
        names = nodes.get(node_name(restore.input[1]))
        if names is None or names.op != "Const":
            continue
        key = tf.make_ndarray(names.attr["value"].tensor).ravel()[int(output or 0)].decode()
        shape = tuple(int(dim.size) for dim in variable.attr["shape"].shape.dim)
        dtype = re.sub("_ref$", "", tf.as_dtype(variable.attr["dtype"].type).name)
        keys[variable.name] = TensorSpec(key, shape, dtype)
    return keys
