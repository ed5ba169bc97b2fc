"""What top-K predictions tell for certain: GAP of a mixture between two exact bounds.

A score that a member did not keep lies between 0 and the bound that it sets for that video. GAP
rises when a hit rises or a miss falls, so the two ends are reached by moving every unknown score
to one side: the reasoning of threshold algorithms (Fagin et al., PODS 2001) turned on a metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.constants import TOP_K
from yt8m_ensemble.errors import PredictionsError
from yt8m_ensemble.tuning.candidates import Candidates, Gathered
from yt8m_ensemble.tuning.scoring import Scorer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.values import Kept, MixtureWeights


@dataclass(frozen=True)
class TopKBounds:
    """Candidates of top-K predictions: as guessed, and at both bounds of the missing scores.

    Args:
        guessed: Unknown scores as `Kept` counts them; searches run on these.
        lowest: Unknown scores of hits at 0, of misses at their upper bound.
        highest: The reverse.
    """

    guessed: Candidates
    lowest: Candidates
    highest: Candidates

    def select(self, rows: NDArray[np.int64]) -> TopKBounds:
        """Return the candidates of the given videos, in their order."""
        return TopKBounds(
            self.guessed.select(rows), self.lowest.select(rows), self.highest.select(rows)
        )

    def gap_interval(self, weights: MixtureWeights) -> tuple[float, float]:
        """Return bounds that hold for the GAP of the mixture of the full scores.

        Args:
            weights: The mixture of some or all of the members.

        Returns:
            The lowest and the highest GAP that any full scores with these top K can have.

        Raises:
            PredictionsError: If the weights differ from class to class: what was not kept could be
                of any class.
        """
        if weights.class_values:
            msg = (
                "Weights by class cannot be judged on predictions that keep a top K only. Cache "
                "all scores, as `yt8m-ens predict --cache` does by default."
            )
            raise PredictionsError(msg)
        members = [self.guessed.names.index(name) for name in weights.names]
        low, high = (
            Scorer(end.select_members(members), weights.space).gap(weights.values)
            for end in (self.lowest, self.highest)
        )
        return low, high


def collect_top_k_bounds(
    blocks: Iterable[tuple[Sequence[Kept], NDArray[np.bool_]]],
    *,
    names: Sequence[str],
    top_k: int = TOP_K,
) -> TopKBounds:
    """Gather the candidates of top-K predictions.

    Args:
        blocks: Row blocks: what each member keeps, and the labels `(B, C)`, bool.
        names: Member names.
        top_k: Pairs kept per video by the metric.

    Returns:
        Candidates as guessed and at both ends.

    Raises:
        PredictionsError: If a member keeps fewer than `top_k` scores, or a score is nan.
    """
    ends = [Gathered(names, top_k) for _ in range(3)]
    for members, labels in blocks:
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
        borders = np.stack([kept.bounds for kept in members])
        guesses = np.stack([kept.left_out for kept in members])
        listed = known.any(axis=0)
        rows, classes = np.nonzero(listed)
        hits, border = labels[rows, classes], borders[:, rows]
        exact, found = known[:, rows, classes], dense[:, rows, classes]
        ends[0].add(rows, classes, np.where(exact, found, guesses[:, rows]), hits, labels)
        # Worst: as many unlisted misses as could matter, each as high as its members allow. They
        # come first in their row, so that they win every tie.
        unlisted = np.minimum(labels.shape[1] - np.count_nonzero(listed, axis=1), top_k)
        extra = np.repeat(np.arange(len(labels)), unlisted)
        order = np.argsort(np.concatenate([extra, rows]), kind="stable")
        ends[1].add(
            np.concatenate([extra, rows])[order],
            np.concatenate([np.full(len(extra), -1), classes])[order],
            np.concatenate(
                [borders[:, extra], np.where(exact, found, np.where(hits, 0, border))], axis=1
            )[:, order],
            np.concatenate([np.zeros(len(extra), np.bool_), hits])[order],
            labels,
        )
        # Best: every unlisted positive as high as its members allow, no unlisted miss at all.
        extra, missed = np.nonzero(labels & ~listed)
        order = np.lexsort([np.concatenate([missed, classes]), np.concatenate([extra, rows])])
        ends[2].add(
            np.concatenate([extra, rows])[order],
            np.concatenate([missed, classes])[order],
            np.concatenate(
                [borders[:, extra], np.where(exact, found, np.where(hits, border, 0))], axis=1
            )[:, order],
            np.concatenate([np.ones(len(extra), np.bool_), hits])[order],
            labels,
        )
    return TopKBounds(*(end.candidates() for end in ends))


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
