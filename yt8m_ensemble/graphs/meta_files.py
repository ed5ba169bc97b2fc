"""Meta graph files (`.meta`): the graph contract of the official readers on disk.

Reads those of any code that follows the contract, and writes those that TensorFlow 1.14 loads.
Never touches weights.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

from yt8m_ensemble import files
from yt8m_ensemble.errors import CheckpointNotFoundError, GraphError
from yt8m_ensemble.graphs.bindings import bind_placeholders
from yt8m_ensemble.graphs.graph_limits import check_limits
from yt8m_ensemble.graphs.inference_cut import cut_inference
from yt8m_ensemble.graphs.model_graph import node_name
from yt8m_ensemble.graphs.operation_check import check_graph, check_import, reader_roots

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from tensorflow.core.framework.graph_pb2 import GraphDef

    from yt8m_ensemble.graphs.model_graph import ModelGraph
    from yt8m_ensemble.graphs.operation_check import GraphReport
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

# Field numbers of `MetaGraphDef` with the wire type of messages: all of its fields are such.
_FIELD_TAGS = frozenset(field.number << 3 | 2 for field in MetaGraphDef.DESCRIPTOR.fields)
_VARINT_BYTES = 10

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
    files.check_regular(path)
    check_graph_size(path, files.size(path))
    meta = tf.compat.v1.MetaGraphDef()
    try:
        _check_frame(path)
        meta.ParseFromString(files.read_bytes(path))
    except DecodeError as error:
        msg = f"'{path}' is no meta graph ({error}). Export the model again."
        raise GraphError(msg, path=path) from error
    return meta


def load_meta_graph(
    path: str,
    *,
    tensors: Mapping[str, str] | None = None,
    bindings: Mapping[str, str] | None = None,
    allow_operations: Collection[str] = (),
    has_logits: bool = False,
) -> ModelGraph:
    """Read a meta graph, check what it would run, and cut it to its inference part.

    Args:
        path: The `.meta` file.
        tensors: Tensor names for collections of the contract that the file lacks or has wrong.
        bindings: Values of placeholders that nobody feeds, such as `{"is_training": "false"}`.
        allow_operations: Operations to run though they are not on the list of allowed ones.
        has_logits: Whether its output is logits, which a sigmoid makes scores of.

    Returns:
        The graph from `input_batch_raw` and `num_frames` to `predictions`.

    Raises:
        GraphError: If it lacks a collection of the contract, holds an operation that may not run,
            needs a placeholder that nobody feeds, or cannot be imported.
    """
    meta = read_meta_graph(path)
    check_limits(meta, path=path)
    bind_placeholders(meta.graph_def, bindings or {}, path=path)
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
    return cut_inference(
        meta,
        named,
        members=dict(read_members(meta)),
        path=path,
        allow_operations=allow_operations,
        has_logits=has_logits,
    )


def check_exported_graph(
    meta: Any, *, path: str, allow_operations: Collection[str] = ()
) -> GraphReport:
    """Refuse a graph if it is too large, or what a reader would run of it may not run.

    Queue runners are not looked at: nothing here starts them, and the official readers need none.

    Args:
        meta: The `MetaGraphDef`.
        path: Where it is from, for messages.
        allow_operations: Operations to run though they are not on the list of allowed ones.

    Returns:
        What the check found.

    Raises:
        GraphError: If it does not pass.
    """
    check_limits(meta, path=path)
    check_import(meta, path=path, allow=allow_operations)
    roots = [root for root in reader_roots(meta, path=path) if root.role != "queue runner"]
    return check_graph(meta, roots=roots, path=path, allow=allow_operations)


def _candidates(graph_def: GraphDef, name: str) -> str:
    """Return names of tensors that might be what a collection should name."""
    fed = {node_name(value) for node in graph_def.node for value in node.input}
    if name == "predictions":
        found = [n.name for n in graph_def.node if n.name not in fed and "T" in n.attr]
    else:
        found = [n.name for n in graph_def.node if any(source in n.op for source in _SOURCES)]
    return ", ".join(f"'{tensor}:0'" for tensor in found[-_SHOWN:]) or "none that can be told"


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
    check_graph_size(path, meta.ByteSize())
    content = meta.SerializeToString(deterministic=True)
    with files.atomic_file(path, force=True) as part, files.open_binary(part, "wb") as file:
        file.write(content)


def _check_frame(path: str) -> None:
    """Walk the outermost fields of a meta graph without reading what they hold.

    Raises:
        DecodeError: If they are none, or end elsewhere than the file does.
    """
    size = files.size(path)
    with files.open_binary(path) as file:
        while (place := file.tell()) < size:
            if file.read(1)[0] not in _FIELD_TAGS:
                msg = f"byte {place:,} begins no field"
                raise DecodeError(msg)
            length = _read_varint(file)
            if file.tell() + length > size:
                msg = f"the field at byte {place:,} ends behind the file"
                raise DecodeError(msg)
            file.seek(length, os.SEEK_CUR)


def _read_varint(file: BinaryIO) -> int:
    value = 0
    for position in range(_VARINT_BYTES):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << (7 * position)
        if byte[0] < 0x80:  # noqa: PLR2004 - the bit that says that more bytes follow
            break
    return value


def check_graph_size(path: str, size: int) -> None:
    """Refuse what a protocol buffer cannot hold.

    Args:
        path: The file.
        size: Its bytes.

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


def read_members(meta: Any) -> Iterator[tuple[str, str]]:
    """Yield what a `MetaGraphDef` lists as members.

    Yields:
        Each one's name, and the tensor of its own scores.
    """
    for entry in meta.collection_def[MEMBERS_COLLECTION].bytes_list.value:
        name, _, tensor = entry.decode().rpartition("=")
        yield name, tensor
