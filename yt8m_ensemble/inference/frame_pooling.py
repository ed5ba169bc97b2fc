"""Find where a frame-level graph has made one vector of all frames of a video.

Up to there a graph moves a megabyte and more a video, and runs fastest on few videos at a time;
from there on it reads its weights from memory once a batch, and runs fastest on many. Looks at
shapes only: runs nothing and changes no graph.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from yt8m_ensemble.graphs import node_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yt8m_ensemble.graphs import ModelGraph

# A batch of so many videos is only imagined. Both are primes, and no layer is as wide as the first:
# whatever has this many rows has one for each video.
_VIDEOS: Final = 10_007
_FRAMES: Final = 311  # where the graph leaves their number open; a multiple of it is no vector
_VECTORS_RANK: Final = 2


def frame_vectors(model: ModelGraph) -> dict[str, int]:
    """Find the tensors through which alone the scores depend on the frames, a vector a video.

    Args:
        model: A frame-level graph.

    Returns:
        By tensor name, the width of tensors of shape `(B, width)`; whoever feeds the graph with
        them needs to feed it with no frames. Empty if there are none, or if the graph works for
        some batch sizes only.
    """
    try:
        graph = _with_known_sizes(model)
    except ValueError:  # a shape in the graph contradicts such a batch
        return {}
    outputs = [graph.get_tensor_by_name(n) for n in (model.predictions, *model.members.values())]
    inputs = graph.get_tensor_by_name(model.inputs)
    fetched = {tensor.ref() for tensor in outputs}
    first = {
        tensor.ref(): width
        for tensor, width in _first_vectors(inputs)
        if tensor.ref() not in fetched
    }
    # Some lead only to others of them, such as the weight of each frame in a sum of frames.
    needed: dict[str, int] = {}
    waiting = [tensor.op for tensor in outputs]
    seen = set(waiting)
    while waiting:
        op = waiting.pop()
        if op is inputs.op:
            return {}
        before = set(op.control_inputs)
        for value in op.inputs:
            if value.ref() in first:
                needed[value.name] = first[value.ref()]
            else:
                before.add(value.op)
        waiting.extend(before - seen)
        seen |= before
    return dict(sorted(needed.items()))


def _with_known_sizes(model: ModelGraph) -> tf.Graph:
    """Return a graph as if its inputs were of known sizes, so that TensorFlow infers the others.

    Raises:
        ValueError: If a shape in it contradicts that.
    """
    graph_def = GraphDef()
    graph_def.CopyFrom(model.graph_def)
    for node in graph_def.node:
        if node.name in {node_name(model.inputs), node_name(model.num_frames)}:
            for dim, size in zip(node.attr["shape"].shape.dim, (_VIDEOS, _FRAMES), strict=False):
                dim.size = size if dim.size < 0 else dim.size
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    return graph


def _first_vectors(inputs: tf.Tensor) -> Iterator[tuple[tf.Tensor, int]]:
    """Yield where each path that the frames take first comes to a vector a video.

    Inside a loop no tensor can be fed, and in a branch that is not taken none can be fetched.
    """
    nesting: dict[tf.Operation, tuple[int, int]] = defaultdict(lambda: (0, 0))
    waiting = [inputs]
    while waiting:
        tensor = waiting.pop()
        for op in tensor.consumers():
            if op in nesting:
                continue
            loops, branches = nesting[tensor.op]
            loops += (op.type == "Enter") - (op.type == "Exit")
            if loops == 0:  # inside loops these two are part of the loop
                branches += (op.type == "Switch") - (op.type == "Merge")
            nesting[op] = loops, branches
            for value in op.outputs:
                width = _width(value) if loops == branches == 0 else None
                if width is None:
                    waiting.append(value)
                else:
                    yield value, width


def _width(tensor: tf.Tensor) -> int | None:
    """Return the length of the vectors that a tensor holds for each video, `None` if it does not.

    A loop gives out what has the shape of what went in, which TensorFlow does not infer.
    """
    shape = tensor.shape
    if tensor.op.type == "Exit":
        merged = tensor.op.inputs[0].op.inputs[0].op
        entered = [value.op.inputs[0] for value in merged.inputs if value.op.type == "Enter"]
        shape = entered[0].shape if entered else shape
    if shape.rank != _VECTORS_RANK or shape[0] != _VIDEOS or not tensor.dtype.is_floating:
        return None
    width: int | None = shape[1]
    return None if width is None or width % _FRAMES == 0 else width
