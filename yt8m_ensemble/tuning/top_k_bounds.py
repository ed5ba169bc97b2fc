"""What top-K predictions tell for certain: GAP of a mixture between two exact bounds.

A score that a member did not keep lies between 0 and the bound that it sets for that video. GAP
rises when a hit rises or a miss falls, so the two ends are reached by moving every unknown score
to one side: the reasoning of threshold algorithms (Fagin et al., PODS 2001) turned on a metric.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.constants import TOP_K
from yt8m_ensemble.errors import PredictionsError
from yt8m_ensemble.mixing import mix_in_space
from yt8m_ensemble.tuning.candidates import Candidates, Gathered
from yt8m_ensemble.tuning.mapped import Growing
from yt8m_ensemble.tuning.scoring import Scorer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.values import Kept, MixtureWeights

    KeptBlock = tuple[Sequence[Kept], NDArray[np.bool_]]


def collect_top_k(
    blocks: Iterable[KeptBlock], *, names: Sequence[str], top_k: int = TOP_K
) -> Candidates:
    """Gather the candidates of top-K predictions; scores left out as `Kept` counts them.

    Args:
        blocks: Row blocks: what each member keeps, and the labels `(B, C)`, bool.
        names: Member names.
        top_k: Pairs kept per video by the metric.

    Returns:
        The candidates of all videos.

    Raises:
        PredictionsError: If a member keeps fewer than `top_k` scores, or a score is nan.
    """
    gathered = Gathered(names, top_k)
    for members, labels in blocks:
        listed = _list(names, members, labels, top_k)
        left_out = np.stack([kept.left_out for kept in members])
        scores = np.where(listed.known, listed.scores, left_out[:, listed.rows])
        gathered.add(listed.rows, listed.class_ids, scores, listed.hits, labels)
    return gathered.candidates()


def bound_gap(
    blocks: Iterable[KeptBlock], weights: MixtureWeights, *, top_k: int = TOP_K
) -> tuple[float, float]:
    """Return bounds that hold for the GAP of the mixture of the full scores.

    Args:
        blocks: Row blocks: what each member of the mixture keeps, and the labels `(B, C)`, bool.
        weights: The mixture.
        top_k: Pairs kept per video by the metric.

    Returns:
        The lowest and the highest GAP that any full scores with these top K can have.

    Raises:
        PredictionsError: If a member keeps fewer than `top_k` scores, a score is nan, or the
            weights differ from class to class: what was not kept could be of any class.
    """
    if weights.class_values:
        msg = (
            "Weights by class cannot be judged on predictions that keep a top K only. Cache "
            "all scores, as `yt8m-ens predict --cache` does by default."
        )
        raise PredictionsError(msg)
    lowest, highest = (_BestPairs(weights, top_k) for _ in range(2))
    for members, labels in blocks:
        listed = _list(weights.names, members, labels, top_k)
        rows, classes, hits, known = listed.rows, listed.class_ids, listed.hits, listed.known
        bounds = np.stack([kept.bounds for kept in members])
        border = bounds[:, rows]
        # Lowest: as many unlisted misses as could matter, each as high as its members allow. They
        # come first in their row, so that they win every tie.
        unlisted = labels.shape[1] - np.bincount(rows, minlength=len(labels))
        extra = np.repeat(np.arange(len(labels)), np.minimum(unlisted, top_k))
        scores = np.where(known, listed.scores, np.where(hits, 0, border))
        lowest.add(
            np.concatenate([extra, rows]),
            np.concatenate([np.full(len(extra), -1), classes]),
            np.concatenate([bounds[:, extra], scores], axis=1),
            np.concatenate([np.zeros(len(extra), np.bool_), hits]),
            labels,
        )
        # Highest: every unlisted positive as high as its members allow, no unlisted miss at all.
        positives = labels.copy()
        positives[rows, classes] = False
        extra, missed = np.nonzero(positives)
        scores = np.where(known, listed.scores, np.where(hits, border, 0))
        highest.add(
            np.concatenate([extra, rows]),
            np.concatenate([missed, classes]),
            np.concatenate([bounds[:, extra], scores], axis=1),
            np.concatenate([np.ones(len(extra), np.bool_), hits]),
            labels,
        )
    return lowest.gap(), highest.gap()


@dataclass(frozen=True)
class _Listed:
    """Classes of a block of videos that any member lists, video by video.

    Args:
        rows: Video of each, rising, shape `(n,)`.
        class_ids: Its class, rising within a video.
        hits: Whether it is a positive.
        known: Whether each member lists it, shape `(M, n)`.
        scores: Members' scores of it, shape `(M, n)`, float32; 0 where not listed.
    """

    rows: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    hits: NDArray[np.bool_]
    known: NDArray[np.bool_]
    scores: NDArray[np.float32]


def _list(
    names: Sequence[str], members: Sequence[Kept], labels: NDArray[np.bool_], top_k: int
) -> _Listed:
    """Return what the members list of a block of videos.

    Raises:
        PredictionsError: If a member keeps fewer than `top_k` scores, or a score is nan.
    """
    for name, kept in zip(names, members, strict=True):
        check_kept(name, kept.scores.shape[1], num_classes=labels.shape[1], top_k=top_k)
        if np.isnan(kept.scores).any():
            msg = f"'{name}' scores a class of a video as nan. Predict it again."
            raise PredictionsError(msg, member=name)
    shape = (len(names), *labels.shape)
    dense, known = np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
    for member, (class_ids, values, _) in enumerate(members):
        np.put_along_axis(dense[member], class_ids, values, axis=1)
        np.put_along_axis(known[member], class_ids, values >= 0, axis=1)
    rows, classes = np.nonzero(known.any(axis=0))
    hits = labels[rows, classes]
    return _Listed(rows, classes, hits, known[:, rows, classes], dense[:, rows, classes])


class _BestPairs:
    """The pairs of a mixture that GAP keeps, gathered block by block."""

    def __init__(self, weights: MixtureWeights, top_k: int) -> None:
        self._weights = replace(weights, class_bias=(), temperature=1.0)
        self._bias = np.asarray(weights.class_bias, np.float32)
        self._top_k = top_k
        self._scores, self._hits, self._sizes, self._positives = (Growing() for _ in range(4))

    def add(
        self,
        rows: NDArray[np.int64],
        class_ids: NDArray[np.int64],
        scores: NDArray[np.float32],
        hits: NDArray[np.bool_],
        labels: NDArray[np.bool_],
    ) -> None:
        """Mix pairs and keep the best of each video; a class of -1 is any that is not listed."""
        mixed = mix_in_space(list(scores), self._weights)
        if len(self._bias):
            # The r-th of a video's unlisted classes has the r-th highest bias at most.
            unlisted = np.flatnonzero(class_ids < 0)
            ranks = unlisted - np.searchsorted(rows[unlisted], rows[unlisted])
            bias = self._bias[class_ids]
            bias[unlisted] = np.sort(self._bias)[::-1][ranks]
            mixed += bias
        # In the order of (video, class), but the unlisted first.
        order = np.lexsort((class_ids, rows))
        best = order[np.lexsort((-mixed[order], rows[order]))]
        starts = np.searchsorted(rows[best], np.arange(len(labels)))
        is_kept = np.zeros(len(rows), np.bool_)
        is_kept[best] = np.arange(len(best)) - starts[rows[best]] < self._top_k
        kept = order[is_kept[order]]
        self._scores.append(mixed[kept])
        self._hits.append(hits[kept])
        self._sizes.append(np.bincount(rows[kept], minlength=len(labels)))
        self._positives.append(np.count_nonzero(labels, axis=1))

    def gap(self) -> float:
        """Return GAP of all pairs added."""
        scores, hits = self._scores.join(), self._hits.join()
        indptr = np.concatenate([[0], np.cumsum(self._sizes.join())])
        candidates = Candidates(
            ("mixed",),
            indptr,
            np.zeros(len(hits), np.int32),
            scores[None],
            hits,
            self._positives.join(),
            1,
            self._top_k,
        )
        return Scorer(candidates, "probability").gap([1])


def check_kept(name: str, kept: int, *, num_classes: int, top_k: int) -> None:
    """Refuse predictions that keep fewer scores of a video than the metric ranks.

    Args:
        name: The member.
        kept: Scores kept of a video.
        num_classes: Classes `C`.
        top_k: Pairs kept per video by the metric.

    Raises:
        PredictionsError: If they do.
    """
    if kept < min(top_k, num_classes):
        msg = (
            f"'{name}' keeps the top {kept} scores of a video, GAP@{top_k} needs "
            f"{top_k} at least and 100 to be certain. Cache more with "
            "`yt8m-ens predict --cache-top-k`, or convert longer lists."
        )
        raise PredictionsError(msg, member=name, kept=kept, top_k=top_k)
