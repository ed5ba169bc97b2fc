"""Do checkpoints lie on one training trajectory? Averages of different runs lose accuracy.

Two networks trained apart permute their hidden units, so their weight matrices are as unrelated as
random ones: cosine 0, distance 1.41 of their norm. Neighbouring checkpoints of one run keep a
cosine above 0.6 even in the first steps of training (measured on gated NetVLAD: 0.76 at distance
0.39 within a run, -0.22 at 1.42 between two seeds). The threshold of 0.3 lies between. Models
without hidden units (logistic, mixture of experts) come out alike from any seed; averaging those
does no harm and is let through.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.averaging.mean import BlockSource
from yt8m_ensemble.errors import CheckpointError
from yt8m_ensemble.values.dtypes import NUMPY_DTYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.values import TensorSource, TensorSpec

MIN_COSINE = 0.3
"""Below it two weight matrices are of different runs."""

_MIN_SIZE = 256  # the cosine of n random values is off from 0 by about 1 / sqrt(n)
_WINDOWS, _WINDOW = 8, 1024  # values looked at of one matrix
_NEGLIGIBLE = 1e-3  # a matrix that much smaller than the others may be noise around zero


@dataclass(frozen=True)
class Neighbors:
    """Similarity of two consecutive inputs, by their least similar weight matrix.

    Args:
        older: Label of one.
        newer: Label of the other.
        tensor: The matrix with the lowest cosine.
        cosine: Between its values in both; 1 if there is no matrix to compare.
        distance: Norm of their difference over their root mean square norm, all matrices together.
    """

    older: str
    newer: str
    tensor: str
    cosine: float
    distance: float


def compare_neighbors(
    sources: Mapping[str, TensorSource], specs: Sequence[TensorSpec]
) -> list[Neighbors]:
    """Compare each input with the next by a sample of up to 8,192 values of every weight matrix.

    Args:
        sources: The inputs by label, oldest first.
        specs: Their averaged tensors; those with two axes or more are compared.

    Returns:
        One comparison for each pair of neighbours, sums in float64.
    """
    matrices = [spec for spec in specs if len(spec.shape) > 1 and spec.size >= _MIN_SIZE]
    samples = [[_sample(source, spec) for spec in matrices] for source in sources.values()]
    pairs = zip(pairwise(sources), pairwise(samples), strict=True)
    names = [spec.name for spec in matrices]
    return [_compare(older, newer, names, a, b) for (older, newer), (a, b) in pairs]


def check_one_run(
    sources: Mapping[str, TensorSource], specs: Sequence[TensorSpec]
) -> list[Neighbors]:
    """Refuse inputs that are not of one run.

    Args:
        sources: The inputs by label, oldest first.
        specs: Their averaged tensors.

    Returns:
        The comparisons, as evidence.

    Raises:
        CheckpointError: If a weight matrix of two neighbours has a cosine below 0.3.
    """
    neighbors = compare_neighbors(sources, specs)
    worst = min(neighbors, key=lambda pair: pair.cosine, default=None)
    if worst is not None and worst.cosine < MIN_COSINE:
        near = [pair.distance for pair in neighbors if pair.cosine >= MIN_COSINE]
        others = (
            f"; the other neighbors are {min(near):.2f} to {max(near):.2f} apart" if near else ""
        )
        msg = (
            f"'{worst.newer}' does not continue the run of '{worst.older}': their weights are "
            f"{worst.distance:.2f} of their norm apart and '{worst.tensor}' has cosine "
            f"{worst.cosine:.2f}, where checkpoints of one run stay above {MIN_COSINE}{others}. "
            "Averages of different runs lose accuracy: merge the models instead, or pass "
            "`--allow-different-runs`."
        )
        raise CheckpointError(
            msg,
            checkpoints=(worst.older, worst.newer),
            tensor=worst.tensor,
            cosine=worst.cosine,
            distance=worst.distance,
        )
    return neighbors


def _compare(
    older: str,
    newer: str,
    names: Sequence[str],
    a: Sequence[NDArray[np.float64]],
    b: Sequence[NDArray[np.float64]],
) -> Neighbors:
    squares = [(_dot(x, x), _dot(y, y), _dot(x, y)) for x, y in zip(a, b, strict=True)]
    total = sum((xx + yy) / 2 for xx, yy, _ in squares)
    apart = sum(max(xx + yy - 2 * xy, 0.0) for xx, yy, xy in squares)
    # Mean squares, so that the sizes of the samples do not matter.
    sizes = [min(xx, yy) / len(x) for x, (xx, yy, _) in zip(a, squares, strict=True)]
    floor = _NEGLIGIBLE**2 * max(sizes, default=0.0)
    cosines = {
        name: xy / math.sqrt(xx * yy)
        for name, size, (xx, yy, xy) in zip(names, sizes, squares, strict=True)
        if size > floor
    }
    lowest = min(cosines, key=lambda name: cosines[name], default="")
    return Neighbors(
        older,
        newer,
        tensor=lowest,
        cosine=cosines.get(lowest, 1.0),
        distance=math.sqrt(apart / total) if total > 0 else 0.0,
    )


def _dot(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the inner product, without the threads that BLAS would start and keep spinning."""
    return float(np.einsum("i,i->", x, y))


def _sample(source: TensorSource, spec: TensorSpec) -> NDArray[np.float64]:
    """Return evenly spread values, read in blocks where the source can."""
    count = min(_WINDOWS, -(-spec.size // _WINDOW))
    size = min(_WINDOW, spec.size)
    windows = []
    in_blocks = source if isinstance(source, BlockSource) else None
    for start in np.linspace(0, spec.size - size, count).astype(int).tolist():
        if in_blocks is not None:
            values = np.empty(size, NUMPY_DTYPES[spec.dtype])
            in_blocks.read_block(spec.name, start, values)
        else:
            values = source.read(spec.name).reshape(-1)[start : start + size]
        windows.append(np.abs(values) if values.dtype.kind == "c" else values)
    sample = np.concatenate(windows).astype(np.float64)
    # NaN and infinity are reported where the mean is made; here they must only not spread.
    sample[~np.isfinite(sample)] = 0
    return sample
