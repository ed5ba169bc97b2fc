"""`inspect --graph --diff`: how what two models compute differs, and which weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.graphs.graph_diff import GraphDiff, diff_graphs
from yt8m_ensemble.loading.model import open_with
from yt8m_ensemble.options import GraphDiffOptions, command

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ChangedWeight:
    """A variable that stands in one place of both graphs with other values.

    Args:
        first: Its node in the first graph.
        second: Its node in the second.
        num_changed: Values that differ by more than rounding to the narrower dtype explains.
        size: Its values.
        largest: Largest difference of a value.
    """

    first: str
    second: str
    num_changed: int
    size: int
    largest: float


@dataclass(frozen=True)
class GraphComparison:
    """Result of `compare_graphs`.

    Args:
        first: The first model.
        second: The second.
        graph: Operations that differ.
        weights: Variables whose values differ by more than rounding.
        num_weights: Variables in one place of both graphs, of one shape.
    """

    first: str
    second: str
    graph: GraphDiff
    weights: tuple[ChangedWeight, ...]
    num_weights: int


@command(GraphDiffOptions)
def compare_graphs(options: GraphDiffOptions) -> GraphComparison:
    """Compare what two models compute, matched by structure, and their weights.

    Returns:
        Operations added, removed and changed, and weights changed by more than rounding.
    """
    with open_with(options.first, options) as one, open_with(options.second, options) as other:
        diff, variables = diff_graphs(one.graph, other.graph)
        changed, compared = [], 0
        for number, (first, second) in enumerate(variables.items()):
            options.progress("compare weights", number, len(variables), unit="tensors")
            values = one.graph.read(first, one.source), other.graph.read(second, other.source)
            if values[0].shape != values[1].shape:
                continue
            compared += 1
            num_changed, largest = _differing(*values)
            if num_changed:
                size = values[0].size
                changed.append(ChangedWeight(first, second, num_changed, size, largest))
        return GraphComparison(one.path, other.path, diff, tuple(changed), compared)


def _differing(first: NDArray[np.generic], second: NDArray[np.generic]) -> tuple[int, float]:
    """Return how many values differ by more than rounding, and the largest difference."""
    import ml_dtypes

    wide = first.astype(np.float64), second.astype(np.float64)
    allowed: NDArray[np.float64] | float = 0.0
    for side in (first, second):
        if side.dtype.kind in "iub":
            continue
        kind = ml_dtypes.finfo(side.dtype)
        magnitude = np.maximum(np.abs(wide[0]), np.abs(wide[1]))
        unit = float(kind.eps) / 2 * magnitude + float(kind.smallest_subnormal) / 2
        allowed = np.maximum(allowed, unit)
    # A nan equals a nan: both are what the other was.
    difference = np.abs(wide[0] - wide[1])
    is_nan = np.isnan(wide[0]) != np.isnan(wide[1])
    beyond = (difference > allowed) | is_nan
    found = difference[beyond & ~is_nan]
    return int(beyond.sum()), float(found.max()) if found.size else 0.0
