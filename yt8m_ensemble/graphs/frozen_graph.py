"""Frozen graphs (`.pb`): a `GraphDef` whose weights are constants, as an inference graph.

Reads no checkpoint: `lift_constants` makes variables of the weights afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

from yt8m_ensemble import files
from yt8m_ensemble.errors import GraphError
from yt8m_ensemble.graphs.bindings import bind_placeholders
from yt8m_ensemble.graphs.graph_limits import check_limits
from yt8m_ensemble.graphs.inference_cut import cut_inference
from yt8m_ensemble.graphs.meta_files import check_graph_size
from yt8m_ensemble.graphs.model_graph import node_name
from yt8m_ensemble.graphs.ports import Port, choose_ports, dtype_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tensorflow.core.framework.node_def_pb2 import NodeDef

    from yt8m_ensemble.graphs.model_graph import ModelGraph
    from yt8m_ensemble.options import ModelOptions


def load_frozen_graph(path: str, options: ModelOptions) -> ModelGraph:
    """Read a frozen graph, check what it would run, and cut it to its inference part.

    Features go into its only placeholder that can take them; scores come from the only node that
    feeds no other.

    Args:
        path: The `.pb` file.
        options: Which tensors, and what else the file does not tell.

    Returns:
        The graph; its weights are constants.

    Raises:
        GraphError: If it is no graph, holds variables, its ends cannot be told, or it may not run.
    """
    meta = _read(path)
    nodes = meta.graph_def.node
    bind_placeholders(meta.graph_def, options.bindings or {}, path=path)
    used = {node_name(value) for node in nodes for value in node.input}
    inputs = [_port(node) for node in nodes if node.op == "Placeholder"]
    outputs = [_port(node) for node in nodes if node.name not in used and node.op != "Placeholder"]
    named = choose_ports(inputs, outputs, options.tensors, path=path)
    graph = cut_inference(
        meta,
        named,
        path=path,
        allow_operations=options.allow_operations,
        has_logits=options.logits,
    )
    if graph.variables:
        name = next(iter(graph.variables))
        msg = (
            f"'{path}' is not frozen: it holds the variable '{name}', whose values are elsewhere. "
            "Freeze the model, or give its SavedModel or checkpoint."
        )
        raise GraphError(msg, path=path, variable=name)
    return graph


def read_constants(path: str) -> dict[str, NDArray[Any]]:
    """Read the weights of a frozen graph: its numeric constants that are no scalars.

    Args:
        path: The `.pb` file.

    Returns:
        Their values by node.

    Raises:
        GraphError: If it is no graph.
    """
    values = {
        node.name: tf.make_ndarray(node.attr["value"].tensor)
        for node in _read(path).graph_def.node
        if node.op == "Const" and node.attr["value"].tensor.tensor_shape.dim
    }
    return {name: value for name, value in values.items() if value.dtype.kind in "fiub"}


def _read(path: str) -> Any:
    """Return the graph as a `MetaGraphDef` without anything else, its size checked.

    Raises:
        GraphError: If it is none.
    """
    files.check_regular(path)
    check_graph_size(path, files.size(path))
    try:
        meta = MetaGraphDef(graph_def=GraphDef.FromString(files.read_bytes(path)))
    except DecodeError as error:
        msg = f"'{path}' is no graph ({error}). Freeze the model again."
        raise GraphError(msg, path=path) from error
    if not meta.graph_def.node:
        msg = f"'{path}' holds no graph. Freeze the model again."
        raise GraphError(msg, path=path)
    check_limits(meta, path=path)
    return meta


def _port(node: NodeDef) -> Port:
    """Return a node as an end; what it gives is of dtype `T`, if it tells no other."""
    key = next((key for key in ("dtype", "DstT", "T") if key in node.attr), None)
    dtype = dtype_of(node.attr[key].type if key else 0)
    shape = node.attr["shape"].shape if "shape" in node.attr else None
    rank = None if shape is None or shape.unknown_rank else len(shape.dim)
    return Port(node.name, f"{node.name}:0", dtype, rank)
