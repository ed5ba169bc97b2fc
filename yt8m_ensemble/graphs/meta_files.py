"""Meta graph files (`.meta`): the graph contract of the official readers on disk.

Reads those of any code that follows the contract, and writes those that TensorFlow 1.14 loads.
Never touches weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework.graph_pb2 import GraphDef

from yt8m_ensemble import files
from yt8m_ensemble.errors import CheckpointNotFoundError, GraphError
from yt8m_ensemble.graphs.lowering import lower
from yt8m_ensemble.graphs.model_graph import ModelGraph, from_tf_graph, needed_nodes, node_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tensorflow.core.framework.node_def_pb2 import NodeDef

    from yt8m_ensemble.values import TensorSpec

CONTRACT = ("input_batch_raw", "num_frames", "predictions")
MEMBERS_COLLECTION = "member_predictions"
MAX_GRAPH_BYTES = 2**31 - 1
"""What one protocol buffer may hold."""

OPTIONS = {
    "input_batch_raw": "input",
    "num_frames": "num-frames",
    "predictions": "predictions",
}
"""The option that names a tensor whose collection is missing."""

_SOURCES = ("Placeholder", "Dequeue", "IteratorGetNext")
_SHOWN = 3


def read_meta_graph(path: str) -> Any:
    """Read a meta graph as it stands.

    Args:
        path: The `.meta` file.

    Returns:
        A `MetaGraphDef`.

    Raises:
        CheckpointNotFoundError: If there is no such file.
        GraphError: If it is no meta graph, or over 2 GB.
    """
    if not files.exists(path):
        msg = f"There is no meta graph at '{path}'. Export the model, or give its train directory."
        raise CheckpointNotFoundError(msg, path=path)
    _check_size(path, files.size(path))
    meta = tf.compat.v1.MetaGraphDef()
    try:
        meta.ParseFromString(files.read_bytes(path))
    except DecodeError as error:
        msg = f"'{path}' is no meta graph ({error}). Export the model again."
        raise GraphError(msg, path=path) from error
    return meta


def load_meta_graph(path: str, *, tensors: Mapping[str, str] | None = None) -> ModelGraph:
    """Read a meta graph and cut it to its inference part.

    Args:
        path: The `.meta` file.
        tensors: Tensor names for collections of the contract that the file lacks or has wrong.

    Returns:
        The graph from `input_batch_raw` and `num_frames` to `predictions`.

    Raises:
        GraphError: If it lacks a collection of the contract or cannot be imported.
    """
    meta = read_meta_graph(path)
    named = {
        name: meta.collection_def[name].node_list.value[0]
        for name in CONTRACT
        if meta.collection_def[name].node_list.value
    }
    named |= {name: t if ":" in t else f"{t}:0" for name, t in (tensors or {}).items()}
    missing = [name for name in CONTRACT if name not in named]
    if missing:
        listed = "; ".join(f"{n} may be {_candidates(meta.graph_def, n)}" for n in missing)
        options = " ".join(f"--{OPTIONS[name]}" for name in missing)
        msg = (
            f"'{path}' lacks the collections {', '.join(missing)}, which name a graph's inputs and "
            f"predictions. Name the tensors with `yt8m-ens merge {options}`: {listed}."
        )
        raise GraphError(msg, path=path, missing=missing)
    graph = tf.Graph()
    try:
        members = dict(_read_members(meta))
        flat, moved = lower(_without_training(meta.graph_def, [*named.values(), *members.values()]))
        parts = list(_stored_parts(meta.graph_def))
        for node in flat.node:
            node.device = ""
        with graph.as_default():
            tf.import_graph_def(flat, name="")
        return from_tf_graph(
            graph,
            inputs=named["input_batch_raw"],
            num_frames=named["num_frames"],
            predictions=moved.get(named["predictions"], named["predictions"]),
            keys={node: key for node, key, _ in parts},
            slices={node: part for node, _, part in parts if part},
            members=members,
        )
    except GraphError:
        raise
    except (ValueError, KeyError) as error:
        msg = f"The graph in '{path}' cannot be loaded: {error}"
        raise GraphError(msg, path=path) from error


def _candidates(graph_def: GraphDef, name: str) -> str:
    """Return names of tensors that might be what a collection should name."""
    fed = {node_name(value) for node in graph_def.node for value in node.input}
    if name == "predictions":
        found = [n.name for n in graph_def.node if n.name not in fed and "T" in n.attr]
    else:
        found = [n.name for n in graph_def.node if any(source in n.op for source in _SOURCES)]
    return ", ".join(f"'{tensor}:0'" for tensor in found[-_SHOWN:]) or "none that can be told"


def _without_training(graph_def: GraphDef, tensors: Iterable[str]) -> GraphDef:
    """Return the graph without initialisers, savers and optimizers, which assign variables."""
    kept = GraphDef()
    kept.versions.CopyFrom(graph_def.versions)
    kept.library.CopyFrom(graph_def.library)
    kept.node.extend(needed_nodes(graph_def, [node_name(tensor) for tensor in tensors], ()))
    return kept


def to_meta_graph(model_graph: ModelGraph) -> Any:
    """Return the meta graph that the official readers of TensorFlow 1 load.

    It holds the inference part, a saver over all variables, and the three collections of the
    contract; for an ensemble also `member_predictions`, tensor names that start with the member's.

    Args:
        model_graph: The graph.

    Returns:
        A `MetaGraphDef`.
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
        return tf.compat.v1.train.export_meta_graph(
            graph=graph, saver_def=saver_def, strip_default_attrs=True
        )


def write_meta_graph(model_graph: ModelGraph, path: str) -> None:
    """Write `to_meta_graph` of a graph.

    Args:
        model_graph: What to write.
        path: The `.meta` file, replaced if it exists.
    """
    meta = to_meta_graph(model_graph)
    _check_size(path, meta.ByteSize())
    content = meta.SerializeToString(deterministic=True)
    with files.atomic_file(path, force=True) as part, files.open_binary(part, "wb") as file:
        file.write(content)


def _check_size(path: str, size: int) -> None:
    """Refuse what a protocol buffer cannot hold.

    Raises:
        GraphError: If it is over 2 GB.
    """
    if size > MAX_GRAPH_BYTES:
        msg = (
            f"The graph '{path}' takes {size:,} bytes; TensorFlow reads at most "
            f"{MAX_GRAPH_BYTES:,}. Keep its weights in a checkpoint instead of constants."
        )
        raise GraphError(msg, path=path, size=size, limit=MAX_GRAPH_BYTES)


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


def _stored_parts(graph_def: GraphDef) -> Iterator[tuple[str, str, tuple[slice, ...]]]:
    """Return the checkpoint tensor that the graph's own saver restores into each variable.

    Yields:
        The variable's node name, the checkpoint's tensor, and the part of it; no slices are all.
    """
    nodes = {node.name: node for node in graph_def.node}

    def source_of(value: str) -> tuple[NodeDef | None, int]:
        name, _, output = value.partition(":")
        node = nodes.get(name)
        while node is not None and node.op == "Identity":
            name, _, output = node.input[0].partition(":")
            node = nodes.get(name)
        return node, int(output or 0)

    def strings(value: str) -> list[str]:
        node, _ = source_of(value)
        if node is None or node.op != "Const":
            return []
        return [text.decode() for text in tf.make_ndarray(node.attr["value"].tensor).ravel()]

    for node in graph_def.node:
        if node.op in {"Assign", "AssignVariableOp"}:
            restore, output = source_of(node.input[1])
            if restore is None or restore.op != "RestoreV2":
                continue
            keys, parts = strings(restore.input[1]), strings(restore.input[2])
            if output < min(len(keys), len(parts)):
                yield node_name(node.input[0]), keys[output], _parse_part(parts[output])


def _parse_part(text: str) -> tuple[slice, ...]:
    """Return the slices of a saver's partition, e.g. `10 8 0,5:-` (whole shape, start and length).

    Examples:
        >>> _parse_part("10 8 0,5:-")
        (slice(0, 5, None), slice(None, None, None))
    """
    if not text:
        return ()
    starts = [part.split(",") for part in text.rpartition(" ")[2].split(":")]
    return tuple(
        slice(None) if part == ["-"] else slice(int(part[0]), int(part[0]) + int(part[1]))
        for part in starts
    )
