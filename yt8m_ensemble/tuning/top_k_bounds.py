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
from yt8m_ensemble.mixing import mix, mix_in_space
from yt8m_ensemble.tuning.candidates import BestPairs, Gathered, Pairs, gather, with_starts
from yt8m_ensemble.tuning.scoring import Scorer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.tuning.candidates import Candidates
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

    def pick(block: KeptBlock) -> list[Pairs]:
        members, labels = block
        listed = _list(names, members, labels, top_k)
        scores = listed.filled(_left_out(members))
        pairs = Pairs.of(listed.rows, listed.class_ids, scores, listed.hits, labels)
        return [pairs.undominated(top_k)]

    return gather(pick, blocks, [Gathered(names, top_k)])[0]


def rank_top_k(
    blocks: Iterable[KeptBlock],
    mixtures: Sequence[MixtureWeights],
    owners: NDArray[np.integer],
    *,
    top_k: int = TOP_K,
) -> list[Candidates]:
    """Rank the pairs of mixtures with a class bias; scores left out as `Kept` counts them.

    Of the classes that no member keeps of a video only those of the highest biases can be ranked.

    Args:
        blocks: Row blocks: what each member keeps, and the labels `(B, C)`, bool; members as in
            the mixtures.
        mixtures: The mixtures.
        owners: Index of the mixture of each video in each of R rankings, shape `(R, N)`; a video
            of -1 is left out of that ranking.
        top_k: Pairs kept per video by the metric.

    Returns:
        What `rank_exactly` returns for the scores with those left out filled in.
    """
    from yt8m_ensemble.tuning import top_k_kernels

    orders = [np.argsort(-np.asarray(mixture.class_bias), kind="stable") for mixture in mixtures]

    def rank(numbered: tuple[int, KeptBlock]) -> list[Pairs]:
        start, (members, labels) = numbered
        listed = _list(mixtures[0].names, members, labels, top_k)
        left_out = _left_out(members)
        scores = listed.filled(left_out)
        found = []
        for own in owners[:, start : start + len(labels)]:
            parts = [(listed.rows[:0], listed.class_ids[:0], scores[0, :0])]
            for index in np.unique(own[own >= 0]):
                is_own = own == index
                unlisted = np.full((len(labels), top_k), -1, np.int32)
                is_listed = np.zeros(labels.shape[1], np.bool_)
                top_k_kernels.list_unlisted(
                    listed.starts, listed.class_ids, is_own, orders[index], is_listed, unlisted
                )
                extra, places = np.nonzero(unlisted >= 0)
                inside = is_own[listed.rows]
                classes = np.concatenate([unlisted[extra, places], listed.class_ids[inside]])
                mixed = mix(
                    [*np.concatenate([left_out[:, extra], scores[:, inside]], axis=1)],
                    mixtures[index],
                    class_ids=classes,
                )
                parts.append((np.concatenate([extra, listed.rows[inside]]), classes, mixed))
            rows, classes, mixed = map(np.concatenate, zip(*parts, strict=True))
            kept = _best(rows, classes, mixed, labels.shape, top_k)
            rows, classes = rows[kept], classes[kept]
            places = np.cumsum(own >= 0) - 1
            hits = labels[rows, classes]
            found.append(Pairs.of(places[rows], classes, mixed[None, kept], hits, labels[own >= 0]))
        return found

    return gather(rank, with_starts(blocks), [BestPairs(top_k) for _ in owners])


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
    mixed = _Mixed(weights, top_k)

    def pick(block: KeptBlock) -> list[Pairs]:
        members, labels = block
        listed = _list(weights.names, members, labels, top_k)
        rows, classes, hits, known = listed.rows, listed.class_ids, listed.hits, listed.known
        bounds = np.stack([kept.bounds for kept in members])
        border = bounds[:, rows]
        # Lowest: as many unlisted misses as could matter, each as high as its members allow. They
        # come first in their row, so that they win every tie.
        unlisted = labels.shape[1] - np.bincount(rows, minlength=len(labels))
        extra = np.repeat(np.arange(len(labels)), np.minimum(unlisted, top_k))
        scores = np.where(known, listed.scores, np.where(hits, 0, border))
        lowest = mixed.best(
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
        highest = mixed.best(
            np.concatenate([extra, rows]),
            np.concatenate([missed, classes]),
            np.concatenate([bounds[:, extra], scores], axis=1),
            np.concatenate([np.ones(len(extra), np.bool_), hits]),
            labels,
        )
        return [lowest, highest]

    ends = gather(pick, blocks, [BestPairs(top_k) for _ in range(2)])
    lowest, highest = (Scorer(end, "probability").gap([1]) for end in ends)
    return lowest, highest


@dataclass(frozen=True)
class _Listed:
    """Classes of a block of videos that any member lists, video by video.

    Args:
        starts: Where those of each video start, shape `(B + 1,)`.
        rows: Video of each, rising, shape `(n,)`.
        class_ids: Its class, rising within a video.
        hits: Whether it is a positive.
        known: Whether each member lists it, shape `(M, n)`.
        scores: Members' scores of it, shape `(M, n)`, float32; -1 where not listed.
    """

    starts: NDArray[np.int64]
    rows: NDArray[np.int64]
    class_ids: NDArray[np.int32]
    hits: NDArray[np.bool_]
    known: NDArray[np.bool_]
    scores: NDArray[np.float32]

    def filled(self, left_out: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the scores, those not listed filled in.

        Args:
            left_out: What counts for all that a member left out of a video, shape `(M, B)`.
        """
        return np.where(self.known, self.scores, left_out[:, self.rows])


def _left_out(members: Sequence[Kept]) -> NDArray[np.float32]:
    return np.stack([kept.left_out for kept in members])


def _list(
    names: Sequence[str], members: Sequence[Kept], labels: NDArray[np.bool_], top_k: int
) -> _Listed:
    """Return what the members list of a block of videos.

    Raises:
        PredictionsError: If a member keeps fewer than `top_k` scores, or a score is nan.
    """
    from yt8m_ensemble.tuning import top_k_kernels

    widest = max(kept.scores.shape[1] for kept in members)
    kept_classes = np.zeros((len(names), len(labels), widest), np.int32)
    kept_scores = np.full(kept_classes.shape, -1, np.float32)
    for member, (name, kept) in enumerate(zip(names, members, strict=True)):
        width = kept.scores.shape[1]
        check_kept(name, width, num_classes=labels.shape[1], top_k=top_k)
        if np.isnan(kept.scores).any():
            msg = f"'{name}' scores a class of a video as nan. Predict it again."
            raise PredictionsError(msg, member=name)
        kept_classes[member, :, :width] = kept.class_ids
        kept_scores[member, :, :width] = kept.scores
    room = len(labels) * min(len(names) * widest, labels.shape[1])
    starts, class_ids = np.empty(len(labels) + 1, np.int64), np.empty(room, np.int32)
    hits, scores = np.empty(room, np.bool_), np.empty((room, len(names)), np.float32)
    flags = np.zeros(-(-labels.shape[1] // top_k_kernels.WORD) * top_k_kernels.WORD, np.uint8)
    count = top_k_kernels.list_classes(
        kept_classes,
        kept_scores,
        labels,
        flags,
        flags.view(np.uint64),
        np.empty(labels.shape[1], np.int64),
        starts,
        class_ids,
        hits,
        scores,
    )
    by_member = np.ascontiguousarray(scores[:count].T)
    rows = np.repeat(np.arange(len(labels)), np.diff(starts))
    return _Listed(starts, rows, class_ids[:count], hits[:count], by_member >= 0, by_member)


class _Mixed:
    """A mixture, applied to pairs of classes that members list and of others."""

    def __init__(self, weights: MixtureWeights, top_k: int) -> None:
        self._weights = replace(weights, class_bias=(), temperature=1.0)
        self._bias = np.asarray(weights.class_bias, np.float32)
        self._top_k = top_k

    def best(
        self,
        rows: NDArray[np.int64],
        class_ids: NDArray[np.integer],
        scores: NDArray[np.float32],
        hits: NDArray[np.bool_],
        labels: NDArray[np.bool_],
    ) -> Pairs:
        """Return the best mixed pairs of each video; a class of -1 is any that is not listed."""
        mixed = mix_in_space(list(scores), self._weights)
        if len(self._bias):
            # The r-th of a video's unlisted classes has the r-th highest bias at most.
            unlisted = np.flatnonzero(class_ids < 0)
            ranks = unlisted - np.searchsorted(rows[unlisted], rows[unlisted])
            bias = self._bias[class_ids]
            bias[unlisted] = np.sort(self._bias)[::-1][ranks]
            mixed += bias
        kept = _best(rows, class_ids, mixed, labels.shape, self._top_k)
        return Pairs.of(rows[kept], class_ids[kept], mixed[None, kept], hits[kept], labels)


def _best(
    rows: NDArray[np.int64],
    class_ids: NDArray[np.integer],
    mixed: NDArray[np.float32],
    shape: tuple[int, ...],
    top_k: int,
) -> NDArray[np.int64]:
    """Return the places of each video's best pairs in the order of (video, class).

    Args:
        rows: Video of each pair.
        class_ids: Its class; those of -1 come first.
        mixed: Its score.
        shape: Videos, classes.
        top_k: Pairs kept a video; of equal ones the first.
    """
    from yt8m_ensemble.tuning import top_k_kernels

    # What is joined is in order already, which this sort makes use of.
    order = np.argsort(rows * (shape[1] + 1) + class_ids, kind="stable")
    starts = np.searchsorted(rows[order], np.arange(shape[0] + 1))
    keep = np.zeros(len(order), np.bool_)
    top_k_kernels.keep_best(starts, mixed[order], top_k, np.empty(top_k, np.float32), keep)
    return order[keep]


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
