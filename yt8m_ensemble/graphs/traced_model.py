"""A Keras model in memory as an inference graph: its call, traced once.

Knows nothing of files; imports no Keras, whose model it is handed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

from yt8m_ensemble.errors import ModelError
from yt8m_ensemble.graphs.graph_limits import check_limits
from yt8m_ensemble.graphs.inference_cut import cut_inference
from yt8m_ensemble.graphs.model_graph import node_name
from yt8m_ensemble.graphs.ports import Port, choose_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from yt8m_ensemble.graphs.model_graph import ModelGraph
    from yt8m_ensemble.options import ModelOptions


def trace_model(
    model: Any, options: ModelOptions, *, path: str
) -> tuple[ModelGraph, dict[str, NDArray[Any]]]:
    """Trace a model's call, check what it would run, and cut it to its inference part.

    Args:
        model: A Keras model; variables are named by the paths of their layers.
        options: What it does not tell.
        path: Where it is from, for messages.

    Returns:
        The graph, and the values of its variables by name.

    Raises:
        ModelError: If its inputs are not known.
    """
    if not getattr(model, "inputs", None):
        msg = f"'{path}' does not tell the shape of its input. Build the model before saving it."
        raise ModelError(msg, path=path)
    specs = [tf.TensorSpec(t.shape, t.dtype, name=f"input_{i}") for i, t in enumerate(model.inputs)]

    def call(*tensors: tf.Tensor) -> Any:
        return tf.nest.flatten(model(tensors[0] if len(specs) == 1 else tensors, training=False))

    traced = tf.function(call).get_concrete_function(*specs)
    meta = MetaGraphDef(graph_def=traced.graph.as_graph_def())
    values = dict(_captured(model, traced, meta.graph_def))
    check_limits(meta, path=path)
    inputs = [
        Port(kept.name, tensor.name, tensor.dtype, tensor.shape.rank)
        for kept, tensor in zip(model.inputs, traced.inputs, strict=False)
    ]
    outputs = [
        Port(kept.name, tensor.name, tensor.dtype, tensor.shape.rank)
        for kept, tensor in zip(model.outputs, traced.outputs, strict=True)
    ]
    graph = cut_inference(
        meta,
        choose_ports(inputs, outputs, options.tensors, path=path),
        path=path,
        allow_operations=options.allow_operations,
        has_logits=options.logits,
    )
    return graph, values


def _captured(model: Any, traced: Any, graph_def: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Make variables and constants of what a traced call captured.

    Yields:
        Names and values of the variables.
    """
    variables = {id(v.value.handle): v for v in model.variables}
    taken = {node.name for node in graph_def.node}
    nodes = {node.name: node for node in graph_def.node}
    renamed: dict[str, str] = {}
    for outside, inside in traced.graph.captures:
        node = nodes[node_name(inside.name)]
        node.attr.clear()
        if id(outside) not in variables:
            value = tf.make_tensor_proto(outside.numpy())
            node.op = "Const"
            node.attr["dtype"].type = value.dtype
            node.attr["value"].tensor.CopyFrom(value)
            continue
        variable = variables[id(outside)]
        name = variable.path
        while name in taken:
            name += "_"
        taken.add(name)
        renamed[node.name] = name
        node.op, node.name = "VarHandleOp", name
        values = variable.value.numpy()
        node.attr["dtype"].type = tf.as_dtype(values.dtype).as_datatype_enum
        node.attr["shape"].shape.CopyFrom(tf.TensorShape(values.shape).as_proto())
        yield name, values
    for node in graph_def.node:
        for position, value in enumerate(node.input):
            head, colon, output = value.partition(":")
            if head in renamed:
                node.input[position] = renamed[head] + colon + output
