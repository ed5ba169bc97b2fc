"""Whether a change of the model costs GAP: an equivalence test between two ways of scoring.

A difference that is not significant proves nothing, so equivalence has a test of its own: two
one-sided tests at 5 %, each of whether the difference is beyond one end of a margin. Both reject
where the 90 % interval of the difference lies inside the margin. Reads no file.

Source:
    Schuirmann, "A comparison of the two one-sided tests procedure …", Journal of Pharmacokinetics
    and Biopharmaceutics, 1987.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.constants import TOP_K
from yt8m_ensemble.metrics import top_k_classes
from yt8m_ensemble.tuning.candidates import Candidates
from yt8m_ensemble.tuning.diversity import best_candidates
from yt8m_ensemble.tuning.scoring import Scorer, paired_differences

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_RESAMPLES = 1000
_TAIL = 0.05


@dataclass(frozen=True)
class Equivalence:
    """Result of `assess_equivalence`.

    Args:
        margin: The difference of GAP that counts as none.
        difference: GAP of the second minus GAP of the first.
        interval90: Its paired bootstrap interval, 90 %.
        equivalent: Whether the interval lies inside plus and minus the margin.
        improved: Videos whose best class is a label under the second and not under the first.
        worsened: Videos of the reverse.
        num_videos: Videos compared on.
    """

    margin: float
    difference: float
    interval90: tuple[float, float]
    equivalent: bool
    improved: int
    worsened: int
    num_videos: int

    @property
    def sentence(self) -> str:
        """The same in words."""
        low, high = self.interval90
        if self.equivalent:
            verdict = "equivalent"
        elif high < -self.margin or low > self.margin:
            verdict = "different"
        else:
            verdict = "neither shown equivalent nor different"
        return (
            f"{verdict} at a margin of {self.margin:g}: GAP {self.difference:+.5f}, 90 % interval "
            f"[{low:+.5f}, {high:+.5f}]; best class turned right in {self.improved} of "
            f"{self.num_videos:,} videos, wrong in {self.worsened}"
        )


class BestPairs:
    """Gather the pairs that GAP counts of one way of scoring, batch by batch.

    Args:
        top_k: Pairs a video.
    """

    def __init__(self, top_k: int = TOP_K) -> None:
        self._top_k, self._num_classes = top_k, 0
        self._parts: list[tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]] = []
        self._positives: list[NDArray[np.int64]] = []

    def update(self, scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> None:
        """Add a batch.

        Args:
            scores: Shape `(B, C)`; a nan is a `PredictionsError`.
            labels: Shape `(B, C)`.
        """
        class_ids = top_k_classes(scores, self._top_k)
        self._num_classes = labels.shape[1]
        self._parts.append(
            (
                class_ids,
                np.take_along_axis(scores, class_ids, axis=1).astype(np.float32),
                np.take_along_axis(labels, class_ids, axis=1),
            )
        )
        self._positives.append(np.count_nonzero(labels, axis=1))

    def candidates(self) -> Candidates:
        """Return the pairs of all batches, of one member called `scores`."""
        class_ids, scores, hits = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        num_videos, kept = class_ids.shape
        return Candidates(
            ("scores",),
            np.arange(num_videos + 1) * kept,
            class_ids.ravel(),
            scores.reshape(1, -1),
            hits.ravel(),
            np.concatenate(self._positives),
            self._num_classes,
            self._top_k,
        )


def assess_equivalence(
    first: Candidates,
    second: Candidates,
    *,
    margin: float,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Equivalence:
    """Test whether two ways of scoring the same videos have the same GAP, up to a margin.

    Args:
        first: Candidates of one member: what is compared with.
        second: Candidates of one member, of the same videos in the same order.
        margin: The largest difference of GAP that counts as none.
        num_resamples: Bootstrap resamples of the videos, the same for both.
        seed: Seed of the bootstrap.

    Returns:
        The test; without any label its numbers are `nan` and nothing is equivalent.
    """
    sides = [Scorer(side, "probability") for side in (first, second)]
    gaps = [side.gap([1]) for side in sides]
    low, high = float("nan"), float("nan")
    if first.num_positives:
        resampled = paired_differences(
            [(side, [1]) for side in sides], num_resamples=num_resamples, seed=seed
        )
        ends = np.nanquantile(resampled[1] - resampled[0], [_TAIL, 1 - _TAIL])
        low, high = ends.tolist()
    right = [side.hits[best_candidates(side, side.scores[0])] for side in (first, second)]
    return Equivalence(
        margin=margin,
        difference=gaps[1] - gaps[0],
        interval90=(low, high),
        equivalent=-margin < low and high < margin,
        improved=int(np.count_nonzero(right[1] & ~right[0])),
        worsened=int(np.count_nonzero(right[0] & ~right[1])),
        num_videos=first.num_videos,
    )
