"""Let a frame-level graph be fed with the bytes of the records: a quarter of what floats take."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from yt8m_ensemble.graphs import node_name
from yt8m_ensemble.models import dequantize_frames

if TYPE_CHECKING:
    from yt8m_ensemble.graphs import ModelGraph

_SCOPE = "yt8m_ens_bytes"
_FRAMES_RANK = 3


def add_byte_input(model: ModelGraph) -> tuple[ModelGraph, str | None]:
    """Add an input of bytes that dequantizes in front of the first, which may still be fed.

    Args:
        model: Any graph.

    Returns:
        The graph and the tensor to feed with `(B, T, F)` uint8, padded with zero bytes; the graph
        as it was and `None` if it does not tell that it reads frames.
    """
    graph_def = GraphDef()
    graph_def.CopyFrom(model.graph_def)
    nodes = {node.name: node for node in graph_def.node}
    inputs, counts = nodes[node_name(model.inputs)], nodes[node_name(model.num_frames)]
    shape = tf.TensorShape(inputs.attr["shape"].shape)
    if shape.rank != _FRAMES_RANK:
        return model, None
    with tf.Graph().as_default() as prefix:
        num_frames = tf.compat.v1.placeholder(counts.attr["dtype"].type, [None], counts.name)
        with tf.name_scope(_SCOPE):
            raw = tf.compat.v1.placeholder(tf.uint8, shape, "frames")
            values = dequantize_frames(raw, tf.cast(num_frames, tf.int32))
    graph_def.node.extend(node for node in prefix.as_graph_def().node if node.name != counts.name)
    inputs.op = "PlaceholderWithDefault"
    inputs.input.append(values.op.name)
    return replace(model, graph_def=graph_def), raw.name
