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

from yt8m_ensemble.tuning.diversity import best_candidates
from yt8m_ensemble.tuning.scoring import Scorer, paired_differences

if TYPE_CHECKING:
    from yt8m_ensemble.tuning.candidates import Candidates

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
    sides = [Scorer(side, "probability").ranking([1]) for side in (first, second)]
    gaps = [side.gap for side in sides]
    low, high = float("nan"), float("nan")
    if first.num_positives:
        resampled = paired_differences(sides, num_resamples=num_resamples, seed=seed)
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
