"""A bias for each class of a logit mixture: fitted, and judged on exactly ranked pairs.

    p_c = sigmoid(sum of w_m * logit_m,c + b_c),   b_c ~ N(0, 1 / tau)

Each b_c is the maximum a posteriori: the one root of a strictly rising function, found by Newton's
method. A class without positives gets a finite bias, for the prior holds it. Reads no file.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from yt8m_ensemble.constants import TOP_K
from yt8m_ensemble.metrics import top_k_classes
from yt8m_ensemble.mixing import mix, to_space
from yt8m_ensemble.tuning import mapped
from yt8m_ensemble.tuning.candidates import Candidates
from yt8m_ensemble.tuning.mapped import Growing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.values import MixtureWeights

PRECISIONS: Final = (3.0, 10.0, 30.0, 100.0)
"""Candidates for tau; the last hardly moves anything."""

FEW_VIDEOS: Final = 3_000
LEAST_PRECISION: Final = 10.0
"""Below `FEW_VIDEOS` videos tau is at least this: 3 lost GAP on every draw of 300 and 750."""

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
    members = [candidates.names.index(name) for name in weights.names]
    # Not from the mixed scores: float32 probabilities near 1 have lost their logits.
    factors = weights.factors.reshape(len(members), -1)
    classes, count = candidates.class_ids, candidates.num_classes
    margins = mapped.empty(classes.shape, np.float64)
    for part in mapped.blocks(len(classes)):
        rows = factors[:, classes[part]] if factors.shape[1] > 1 else factors
        linked = to_space(candidates.scores[members, part], "logit")
        np.sum(rows * linked, axis=0, dtype=np.float64, out=margins[part])
    bias = np.zeros(count)
    for _ in range(_STEPS):
        slope, curve = np.zeros(count), np.zeros(count)
        for part in mapped.blocks(len(classes)):
            own = classes[part]
            chance = 1 / (1 + np.exp(-(margins[part] + bias[own])))
            # Added one after the other, as over all pairs at once: blocks do not change the sums.
            np.add.at(slope, own, chance - candidates.hits[part])
            np.add.at(curve, own, chance * (1 - chance))
        slope += precision * bias
        curve += precision
        move = np.clip(slope / curve, -_LARGEST_STEP, _LARGEST_STEP)
        bias -= move
        if np.abs(move).max() < _CONVERGED:
            break
    return replace(weights, class_bias=tuple(bias.tolist()))


def allowed_precisions(num_videos: int) -> tuple[float, ...]:
    """Return the values of tau that may be tried with so many videos to tune on."""
    least = LEAST_PRECISION if num_videos < FEW_VIDEOS else 0.0
    return tuple(tau for tau in PRECISIONS if tau >= least)


def rank_exactly(
    blocks: Iterable[tuple[NDArray[np.float32], NDArray[np.bool_]]],
    mixtures: Sequence[MixtureWeights],
    owners: NDArray[np.int64],
    *,
    top_k: int = TOP_K,
) -> Candidates:
    """Mix all scores of each video and keep its best pairs: exact for any bias.

    Args:
        blocks: Row blocks of scores `(M, B, C)`, float32, and labels `(B, C)`, bool; members as in
            the mixtures.
        mixtures: The mixtures.
        owners: Index of the mixture of each video, shape `(N,)`; a video of -1 is left out.
        top_k: Pairs kept per video by the metric.

    Returns:
        Candidates of one member, the mixed scores, for the videos that have a mixture, in order.
    """
    sizes, classes, scores, hits, positives = (Growing() for _ in range(5))
    start, num_classes = 0, 0
    for block, labels in blocks:
        own = owners[start : start + len(labels)]
        start += len(labels)
        num_classes = labels.shape[1]
        rows = np.flatnonzero(own >= 0)
        mixed = np.empty((len(rows), num_classes), np.float32)
        for index in np.unique(own[rows]):
            part = own[rows] == index
            mixed[part] = mix(list(block[:, rows[part]]), mixtures[index])
        kept = np.sort(top_k_classes(mixed, min(top_k, num_classes)), axis=1)
        sizes.append(np.full(len(rows), kept.shape[1]))
        classes.append(kept.astype(np.int32).ravel())
        scores.append(np.take_along_axis(mixed, kept, axis=1).ravel())
        hits.append(np.take_along_axis(labels[rows], kept, axis=1).ravel())
        positives.append(np.count_nonzero(labels[rows], axis=1))
    return Candidates(
        ("mixed",),
        np.concatenate([[0], np.cumsum(sizes.join())]),
        classes.join(),
        scores.join()[None],
        hits.join(),
        positives.join(),
        num_classes,
        top_k,
    )
