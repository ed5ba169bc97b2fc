"""A bias for each class of a logit mixture: fitted, and judged on exactly ranked pairs.

    p_c = sigmoid(sum of w_m * logit_m,c + b_c),   b_c ~ N(0, 1 / tau)

Each b_c is the maximum a posteriori: the one root of a strictly rising function, found by Newton's
method. A class without positives gets a finite bias, for the prior holds it. Reads no file.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from yt8m_ensemble import mapped
from yt8m_ensemble.constants import TOP_K
from yt8m_ensemble.mixing import mix, to_space
from yt8m_ensemble.threads import NUM_THREADS
from yt8m_ensemble.tuning.candidates import BestPairs, Pairs, gather, with_starts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.tuning.candidates import Candidates, DenseBlock
    from yt8m_ensemble.values import MixtureWeights

PRECISIONS: Final = (3.0, 10.0, 30.0, 100.0)
"""Candidates for tau; the last hardly moves anything."""

FEW_VIDEOS: Final = 3_000
LEAST_PRECISION: Final = 10.0
"""Below `FEW_VIDEOS` videos tau is at least this: 3 lost GAP on every draw of 300 and 750."""

_PAIRS = 1 << 18  # summed at a time, whatever the number of threads
_STEPS = 30
_LARGEST_STEP = 2.0
_CONVERGED = 1e-9


def fit_class_bias(
    candidates: Candidates, weights: MixtureWeights, *, precision: float
) -> MixtureWeights:
    """Fit the class bias of a logit mixture on the pairs that can be ranked.

    Args:
        candidates: Candidates of the videos to fit on, best collected with spare ranks.
        weights: The mixture; its own bias is replaced.
        precision: Precision tau of the prior, above 0.

    Returns:
        The mixture with `class_bias`: for each class the root b of

            sum over its pairs of (sigmoid(z + b) - y) + tau * b = 0

        A class that is no candidate gets 0.
    """
    return fit_class_biases(candidates, weights, [precision])[0]


def fit_class_biases(
    candidates: Candidates, weights: MixtureWeights, precisions: Sequence[float]
) -> list[MixtureWeights]:
    """Fit the class bias of a logit mixture for several precisions of the prior.

    Args:
        candidates: As `fit_class_bias` takes them.
        weights: The mixture.
        precisions: Precisions tau.

    Returns:
        The mixture with its bias for each precision.
    """
    from yt8m_ensemble.tuning import kernels

    members = [candidates.names.index(name) for name in weights.names]
    # Not from the mixed scores: float32 probabilities near 1 have lost their logits.
    factors = weights.factors.reshape(len(members), -1)
    classes, count = candidates.class_ids, candidates.num_classes
    margins = mapped.empty(classes.shape, np.float64)
    parts = [slice(start, start + _PAIRS) for start in range(0, len(classes), _PAIRS)]

    def sum_logits(part: slice) -> None:
        rows = factors[:, classes[part]] if factors.shape[1] > 1 else factors
        linked = to_space(candidates.scores[members, part], "logit")
        np.sum(rows * linked, axis=0, dtype=np.float64, out=margins[part])

    def sum_slopes(part: slice) -> NDArray[np.float64]:
        sums = np.zeros((2, count))
        kernels.sum_slopes(margins[part], classes[part], candidates.hits[part], bias, sums)
        return sums

    found = []
    bias = np.zeros(count)
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        list(pool.map(sum_logits, parts))
        for precision in precisions:
            for _ in range(_STEPS):
                slope, curve = np.zeros((2, count))
                for part_slope, part_curve in pool.map(sum_slopes, parts):
                    slope += part_slope
                    curve += part_curve
                slope += precision * bias
                curve += precision
                move = np.clip(slope / curve, -_LARGEST_STEP, _LARGEST_STEP)
                # The root of one precision is where the search for the next starts.
                bias = bias - move
                if np.abs(move).max() < _CONVERGED:
                    break
            found.append(replace(weights, class_bias=tuple(bias.tolist())))
    mapped.release(candidates.scores)
    return found


def allowed_precisions(num_videos: int) -> tuple[float, ...]:
    """Return the values of tau that may be tried with so many videos to tune on."""
    least = LEAST_PRECISION if num_videos < FEW_VIDEOS else 0.0
    return tuple(tau for tau in PRECISIONS if tau >= least)


def rank_exactly(
    blocks: Iterable[DenseBlock],
    mixtures: Sequence[MixtureWeights],
    owners: NDArray[np.integer],
    *,
    top_k: int = TOP_K,
) -> list[Candidates]:
    """Mix all scores of each video and keep its best pairs: exact for any bias.

    Args:
        blocks: Row blocks of scores `(M, B, C)`, float32, and labels `(B, C)`, bool; members as in
            the mixtures.
        mixtures: The mixtures.
        owners: Index of the mixture of each video in each of R rankings, shape `(R, N)`; a video
            of -1 is left out of that ranking.
        top_k: Pairs kept per video by the metric.

    Returns:
        For each ranking candidates of one member, the mixed scores, for the videos that have a
        mixture, in order.
    """

    def rank(numbered: tuple[int, DenseBlock]) -> list[Pairs]:
        start, (block, labels) = numbered
        found = []
        for own in owners[:, start : start + len(labels)]:
            rows = np.flatnonzero(own >= 0)
            mixed = np.empty((len(rows), labels.shape[1]), np.float32)
            for index in np.unique(own[rows]):
                part = own[rows] == index
                mixed[part] = mix(list(block[:, rows[part]]), mixtures[index])
            found.append(Pairs.best(mixed, labels[rows], top_k))
        return found

    return gather(rank, with_starts(blocks), [BestPairs(top_k) for _ in owners])
