"""Put a view of other features before a graph, so that models of unlike ones share an input.

A slice for each model in its own order, fewer frames for one that keeps fewer, the mean of the true
frames for one of the video level. Adds nothing where the features are the same. Holds no weight.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from yt8m_ensemble.graphs.model_graph import ModelGraph, free_scope, node_name
from yt8m_ensemble.values import feature_ranges

if TYPE_CHECKING:
    from yt8m_ensemble.values import FeatureSpec


def view_features(graph: ModelGraph, own: FeatureSpec, joint: FeatureSpec) -> ModelGraph:
    """Let a graph read a union of features.

    A model of the video level gets, of frames x_1 … x_T of which n are true, their mean
    (x_1 + … + x_n) / n: what the video-level records hold, but for the quantization of frames.

    Args:
        graph: The graph.
        own: What it reads.
        joint: What it shall be fed with; holds all of `own`, see `join_features`.

    Returns:
        The graph with inputs of the union's shape; itself if the features are the same.
    """
    if own == joint:
        return graph
    inputs, counts = node_name(graph.inputs), node_name(graph.num_frames)
    nodes = {node.name: node for node in graph.graph_def.node}
    shape, frames = nodes[inputs].attr["shape"].shape, None
    if joint.frame_level and own.frame_level and tf.TensorShape(shape).rank is not None:
        is_fixed = tf.TensorShape(shape)[1] is not None
        frames = joint.max_frames if is_fixed else None
    scope = free_scope(graph.graph_def, "feature_view")
    with tf.Graph().as_default() as view:
        wide = [None, frames, joint.total_size] if joint.frame_level else [None, joint.total_size]
        values = tf.compat.v1.placeholder(nodes[inputs].attr["dtype"].type, wide, inputs)
        number = tf.compat.v1.placeholder(nodes[counts].attr["dtype"].type, [None], counts)
        with tf.name_scope(f"{scope}/"):
            parts, seen = _view(values, number, own, joint)
    replaced = {inputs: parts.op.name, counts: seen.op.name}
    changed = GraphDef()
    changed.CopyFrom(view.as_graph_def())
    changed.versions.CopyFrom(graph.graph_def.versions)
    for node in graph.graph_def.node:
        if node.name in replaced:
            continue
        copy = changed.node.add()
        copy.CopyFrom(node)
        for position, value in enumerate(node.input):
            name = node_name(value)
            if name in replaced:
                copy.input[position] = "^" * value.startswith("^") + replaced[name]
    return replace(graph, graph_def=changed)


def _view(
    values: tf.Tensor, number: tf.Tensor, own: FeatureSpec, joint: FeatureSpec
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return a model's own features and frame counts, in operations that TensorFlow 1.8 knows."""
    if joint.frame_level and own.frame_level and own.max_frames < joint.max_frames:
        values = values[:, : own.max_frames]
        number = tf.minimum(number, tf.constant(own.max_frames, number.dtype))
    ranges = feature_ranges(own, joint)
    if joint.frame_level and not own.frame_level:
        # Before the slices: members of several slices share one mean.
        values = _mean_of_frames(values, number)
        number = tf.ones_like(number)
    if ranges != [(0, joint.total_size)]:
        parts = [values[..., start:stop] for start, stop in ranges]
        values = parts[0] if len(parts) == 1 else tf.concat(parts, -1)
    return values, number


def _mean_of_frames(frames: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """Return the mean of the first `number` frames: `(B, T, F)` → `(B, F)`."""
    raw = tf.raw_ops
    most = tf.shape(frames)[1]
    counts = tf.maximum(tf.minimum(tf.cast(number, tf.int32), most), 1)
    true = tf.less(tf.expand_dims(tf.range(most), 0), tf.expand_dims(counts, 1))
    shares = tf.cast(true, frames.dtype) / tf.expand_dims(tf.cast(counts, frames.dtype), 1)
    # A product with the frames' shares needs no masked copy of the frames.
    mean = raw.BatchMatMul(x=tf.expand_dims(shares, 1), y=frames)
    return tf.reshape(mean, [-1, frames.shape[2]])
