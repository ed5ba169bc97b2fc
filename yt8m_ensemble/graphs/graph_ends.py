"""Fit a graph's two ends to the contract: float32 features in, float32 confidences out.

Changes definitions; reads no file and runs nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from yt8m_ensemble.constants import DEQUANTIZE_BIAS, DEQUANTIZE_SCALE
from yt8m_ensemble.errors import GraphError
from yt8m_ensemble.graphs.model_graph import node_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from yt8m_ensemble.graphs.model_graph import ModelGraph


def adapt_ends(graph: ModelGraph, *, given: tf.DType, has_logits: bool, path: str) -> ModelGraph:
    """Return a graph that takes and gives float32, as all others do.

    Features are cast for a graph of other floats. One of bytes gets those that the records hold:
    dequantizing is undone.

    Args:
        graph: The graph as its author cut it off.
        given: Dtype of its predictions.
        has_logits: Whether its output is logits, which a sigmoid makes scores of.
        path: Where it is from, for messages.

    Raises:
        GraphError: If it takes or gives what is no number of that kind.
    """
    nodes = {node.name: node for node in graph.graph_def.node}
    place = nodes[node_name(graph.inputs)]
    dtype = tf.as_dtype(place.attr["dtype"].type)
    if not dtype.is_floating and dtype != tf.uint8:
        msg = (
            f"'{path}' takes {dtype.name} in '{place.name}', but features are float32, float16 or "
            "bytes. Name the tensor behind its parser with `yt8m-ens merge --input-tensor`, or "
            "another signature with `yt8m-ens merge --signature`."
        )
        raise GraphError(msg, path=path, tensor=graph.inputs, dtype=dtype.name)
    if dtype != tf.float32:
        graph = _convert_input(graph, dtype)
    if not given.is_floating:
        msg = (
            f"'{path}' gives {given.name} in '{graph.predictions}', but scores are floats. Name "
            "the tensor of the scores with `yt8m-ens merge --predictions-tensor`."
        )
        raise GraphError(msg, path=path, tensor=graph.predictions, dtype=given.name)
    if has_logits or given != tf.float32:
        graph = _convert_output(graph, given, has_logits=has_logits)
    return graph


def _convert_input(graph: ModelGraph, dtype: tf.DType) -> ModelGraph:
    def convert(x: tf.Tensor) -> tf.Tensor:
        raw = tf.raw_ops
        if dtype == tf.uint8:
            above = raw.Sub(x=x, y=tf.constant(DEQUANTIZE_BIAS))
            steps = raw.Round(x=raw.RealDiv(x=above, y=tf.constant(DEQUANTIZE_SCALE)))
            x = raw.Minimum(x=raw.Maximum(x=steps, y=0.0), y=255.0)
        return raw.Cast(x=x, DstT=dtype)

    name = node_name(graph.inputs)
    added, result = _small_graph(convert, tf.float32, f"{name}_{dtype.name}", name)
    changed = GraphDef()
    changed.CopyFrom(graph.graph_def)
    for node in changed.node:
        if node.name == name:
            node.attr["dtype"].type = tf.float32.as_datatype_enum
            continue
        for position, value in enumerate(node.input):
            if value in {name, f"{name}:0"}:
                node.input[position] = result
    changed.node.extend(added.node)
    return replace(graph, graph_def=changed)


def _convert_output(graph: ModelGraph, dtype: tf.DType, *, has_logits: bool) -> ModelGraph:
    def convert(x: tf.Tensor) -> tf.Tensor:
        x = x if dtype == tf.float32 else tf.raw_ops.Cast(x=x, DstT=tf.float32)
        return tf.raw_ops.Sigmoid(x=x) if has_logits else x

    scope = f"{node_name(graph.predictions)}_confidences"
    added, result = _small_graph(convert, dtype, scope, graph.predictions.removesuffix(":0"))
    changed = GraphDef()
    changed.CopyFrom(graph.graph_def)
    changed.node.extend(added.node)
    return replace(graph, graph_def=changed, predictions=f"{result}:0")


def _small_graph(
    convert: Callable[[tf.Tensor], tf.Tensor], dtype: tf.DType, scope: str, source: str
) -> tuple[GraphDef, str]:
    """Return the nodes of a function below a scope, fed by a tensor, and the last one's name."""
    built = tf.Graph()
    with built.as_default():
        last = convert(tf.raw_ops.Placeholder(dtype=dtype, name="source")).op.name
    graph = GraphDef()
    for node in built.as_graph_def().node:
        if node.name == "source":
            continue
        copy = graph.node.add()
        copy.CopyFrom(node)
        copy.name = f"{scope}/{node.name}"
        copy.input[:] = [
            source if node_name(value) == "source" else f"{scope}/{value}" for value in node.input
        ]
    return graph, f"{scope}/{last}"
