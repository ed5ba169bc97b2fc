"""Changes to a graph that a merge may ask for: constants made variables, random frames made fixed.

Each takes a `ModelGraph` and returns another; neither reads a checkpoint.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from yt8m_ensemble.errors import GraphError
from yt8m_ensemble.graphs.model_graph import ModelGraph, node_name
from yt8m_ensemble.values import TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tensorflow.core.framework.node_def_pb2 import NodeDef

# What stands between a draw in [0, 1) and its product with the frame count.
_MOVES = frozenset({"Add", "AddV2", "ExpandDims", "Identity", "Mul", "Reshape", "Squeeze", "Sub"})

MIN_WEIGHT_SIZE = 1024
"""A constant of so many values is a weight; smaller ones are shapes, factors and thresholds."""


def lift_constants(graph: ModelGraph) -> tuple[ModelGraph, dict[str, NDArray[Any]]]:
    """Turn the weights of a frozen graph back into variables.

    Only then can they be stored in fewer bits, and stay out of the graph definition, which may not
    exceed 2 GB.

    Args:
        graph: A graph whose weights may be constants.

    Returns:
        The graph with reference variables in their place, and their values by variable.
    """
    lifted = GraphDef()
    lifted.CopyFrom(graph.graph_def)
    values: dict[str, NDArray[Any]] = {}
    specs = dict(graph.variables)
    for node in lifted.node:
        if node.op != "Const" or not tf.as_dtype(node.attr["dtype"].type).is_floating:
            continue
        value = tf.make_ndarray(node.attr["value"].tensor)
        if value.size < MIN_WEIGHT_SIZE:
            continue
        values[node.name] = value
        specs[node.name] = TensorSpec(node.name, value.shape, value.dtype.name)
        node.op = "VariableV2"
        del node.attr["value"]
        node.attr["shape"].shape.CopyFrom(tf.TensorShape(value.shape).as_proto())
    return replace(graph, graph_def=lifted, variables=specs), values


def fix_frames(graph: ModelGraph) -> ModelGraph:
    """Replace random draws of frames by evenly spaced true frames.

    The originals draw S uniform numbers u in [0, 1) a video and take the frames floor(u * n) of its
    n true ones. Here the draw is u_i = (i + 0.5) / S, the same for every video: the frames then lie
    evenly over the true ones, and the run of frames that starts at one draw (S = 1) in the middle.

    Args:
        graph: A graph that may draw uniform random numbers.

    Returns:
        A graph that gives the same scores for the same video every time.

    Raises:
        GraphError: If it draws numbers for anything else, such as dropout.
    """
    frames = frame_draws(graph.graph_def, node_name(graph.num_frames))
    if others := [name for name in graph.random_operations if name not in frames]:
        msg = (
            f"'{others[0]}' draws numbers that choose no frames, so that even frames cannot stand "
            "for them. Bind the placeholder that turns it off, as with `yt8m-ens merge --set`, or "
            "export the model for inference."
        )
        raise GraphError(msg, nodes=others)
    fixed = GraphDef()
    fixed.versions.CopyFrom(graph.graph_def.versions)
    for node in graph.graph_def.node:
        if node.name not in frames:
            fixed.node.add().CopyFrom(node)
            continue
        spaced = _evenly_spaced(tf.as_dtype(node.attr["dtype"].type))
        for inner in spaced.node:
            if inner.name == "shape":
                continue
            copy = fixed.node.add()
            copy.CopyFrom(inner)
            is_result = inner.name == "result"
            copy.name = node.name if is_result else f"{node.name}/{inner.name}"
            copy.input[:] = [
                node.input[0] if node_name(value) == "shape" else f"{node.name}/{value}"
                for value in inner.input
            ]
    return replace(graph, graph_def=fixed)


def frame_draws(graph_def: GraphDef, num_frames: str) -> set[str]:
    """Find the draws that choose frames: uniform numbers that are multiplied by the frame count.

    Args:
        graph_def: A graph; its functions are not looked into.
        num_frames: The node of the frame counts.

    Returns:
        The names of the nodes that draw.
    """
    users: dict[str, list[NodeDef]] = {}
    for node in graph_def.node:
        for value in node.input:
            users.setdefault(node_name(value), []).append(node)
    counts, waiting = {num_frames}, [num_frames]
    while waiting:
        found = [node.name for node in users.get(waiting.pop(), ()) if node.name not in counts]
        counts.update(found)
        waiting += found

    def chooses_frames(draw: str) -> bool:
        seen, after = {draw}, list(users.get(draw, ()))
        while after:
            node = after.pop()
            is_scaled = node.op == "Mul" and any(node_name(value) in counts for value in node.input)
            if is_scaled or node.name in seen:
                continue
            if node.op not in _MOVES:
                return False
            seen.add(node.name)
            after += users.get(node.name, ())
        return draw in users

    draws = (node.name for node in graph_def.node if node.op == "RandomUniform")
    return {draw for draw in draws if chooses_frames(draw)}


def _evenly_spaced(dtype: tf.DType) -> GraphDef:
    """Return the graph `shape` → `result`: (i + 0.5) / S along the last axis of that shape."""
    raw = tf.raw_ops
    graph = tf.Graph()
    with graph.as_default():
        shape = raw.Placeholder(dtype=tf.int32, name="shape")
        last = raw.StridedSlice(
            input=shape, begin=[-1], end=[0], strides=[1], end_mask=1, shrink_axis_mask=1
        )
        count = raw.Cast(x=last, DstT=dtype)
        steps = raw.Cast(x=raw.Range(start=0, limit=last, delta=1), DstT=dtype)
        places = raw.RealDiv(x=raw.Add(x=steps, y=tf.constant(0.5, dtype)), y=count)
        zeros = raw.Fill(dims=shape, value=tf.constant(0.0, dtype))
        raw.Add(x=zeros, y=places, name="result")
    return graph.as_graph_def()
