"""What an inference graph is made of: which nodes serve which members, and what a video costs.

Counts on node definitions and inferred shapes; runs nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from yt8m_ensemble.constants import MAX_FRAMES
from yt8m_ensemble.graphs.model_graph import ModelGraph, needed_nodes, node_name

if TYPE_CHECKING:
    from collections.abc import Iterable

SHARED = "shared"
"""The part that serves more than one member."""

MIXTURE = "mixture"
"""The part that serves no single member: it joins their scores."""

_MATMULS = frozenset({"MatMul", "BatchMatMul", "BatchMatMulV2"})
_FREE = frozenset(
    {"Const", "Placeholder", "VariableV2", "Identity", "Reshape", "Shape", "Pack", "ExpandDims",
     "Squeeze", "StridedSlice", "NoOp", "Enter", "Exit", "Switch", "Merge", "NextIteration",
     "LoopCond", "Unpack", "Split", "Slice", "ConcatV2", "Tile", "Transpose", "Fill", "Range"}
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """Nodes that serve one member, several, or only the mixture.

    Args:
        name: The member, `shared` or `mixture`.
        num_nodes: How many nodes.
        flops: Floating-point operations for one video: 2mkn for an (m, k) by (k, n) product, one
            for each value of any other result; nodes of loops count once.
        variables: Names of its variables.
    """

    name: str
    num_nodes: int
    flops: int
    variables: tuple[str, ...]


def measure_parts(graph: ModelGraph, *, num_frames: int = MAX_FRAMES) -> list[Part]:
    """Nodes and cost of the part of a graph that serves the same members.

    Args:
        graph: A model, merged or single.
        num_frames: Frames of the video, for models that read frames.

    Returns:
        What members share, then each member, then the mixture; parts without nodes are left out.
    """
    placeholders = {node_name(graph.inputs), node_name(graph.num_frames)}
    members = graph.members or {"model": graph.predictions}
    needed = {
        name: {n.name for n in needed_nodes(graph.graph_def, [node_name(tensor)], placeholders)}
        for name, tensor in members.items()
    }
    flops = _count_flops(graph, num_frames)
    owners: dict[str, list[str]] = {name: [] for name in (SHARED, *members, MIXTURE)}
    for node in graph.graph_def.node:
        if node.name not in placeholders:
            serving = [name for name, nodes in needed.items() if node.name in nodes]
            owner = SHARED if len(serving) > 1 else serving[0] if serving else MIXTURE
            owners[owner].append(node.name)
    return [
        Part(
            name,
            len(nodes),
            sum(flops.get(node, 0) for node in nodes),
            tuple(node for node in nodes if node in graph.variables),
        )
        for name, nodes in owners.items()
        if nodes
    ]


def _count_flops(graph: ModelGraph, num_frames: int) -> dict[str, int]:
    fixed = GraphDef()
    fixed.CopyFrom(graph.graph_def)
    for node in fixed.node:
        if node.name == node_name(graph.inputs):
            dims = node.attr["shape"].shape.dim
            for dim, size in zip(dims, (1, num_frames), strict=False):
                dim.size = size if dim.size < 0 else dim.size
        elif node.name == node_name(graph.num_frames):
            node.attr["shape"].shape.CopyFrom(tf.TensorShape([1]).as_proto())
    imported = tf.Graph()
    with imported.as_default():
        tf.import_graph_def(fixed, name="")
    return {op.name: _flops_of(op) for op in imported.get_operations() if op.type not in _FREE}


def _flops_of(op: tf.Operation) -> int:
    result = sum(_size(output.shape) for output in op.outputs if output.dtype.is_floating)
    if op.type not in _MATMULS:
        return result
    left = op.inputs[0].shape
    transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
    inner = left[-2 if transposed else -1] if left.rank else None
    return 2 * result * (inner or 1)


def _size(shape: tf.TensorShape) -> int:
    """Return the number of values; a dimension that the graph does not tell counts as one."""
    dims: Iterable[int | None] = shape.as_list() if shape.rank is not None else ()
    return math.prod(dim or 1 for dim in dims)
