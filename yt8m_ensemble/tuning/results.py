"""What tuning found, and what the gain is worth on other videos: values with their sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from yt8m_ensemble.values import SPACES, MixtureWeights

if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGED = tuple(f"uniform {space}" for space in SPACES)


def describe_overlap(num_trained_on: int) -> str:
    """Return a sentence on videos that both tuning and training saw."""
    return (
        f"Careful: {num_trained_on:,} of these videos are among the training records, so members "
        "look better than they are. Tune on videos that none was trained on."
    )


@dataclass(frozen=True)
class Gain:
    """Compare the tuned mixture with another over the same videos.

    Args:
        over: What it is compared with.
        gap: GAP of the other.
        difference: GAP of the tuned mixture minus the other's.
        interval: Paired bootstrap interval of that difference, 95 %.
    """

    over: str
    gap: float
    difference: float
    interval: tuple[float, float]

    @property
    def is_real(self) -> bool:
        """Whether the interval lies above 0."""
        return self.interval[0] > 0


@dataclass(frozen=True)
class HeldOutResult:
    """GAP of a mixture on videos that it was not fitted on.

    Args:
        name: `out of fold`, or `held out`.
        mixture: What is judged: `tuned` or `uniform` weights, perhaps `with class bias`.
        num_videos: Videos judged on.
        gap: GAP of the mixture.
        standard_error: Its bootstrap error; far larger than that of a paired difference.
        gains: Over the other mixtures and the baselines.
        was_used: Whether the mixture was chosen by these videos, which makes its GAP optimistic.
    """

    name: str
    mixture: str
    num_videos: int
    gap: float
    standard_error: float
    gains: tuple[Gain, ...]
    was_used: bool = False

    @property
    def verdict(self) -> str:
        """Sentence that compares the mixture with the best uniform one."""
        rival = max((g for g in self.gains if g.over in _PACKAGED), key=lambda g: g.gap)
        low, high = rival.interval
        worth = (
            "the gain is real."
            if rival.is_real
            else "no difference that can be told from chance."
            if high >= 0
            else f"{rival.over} is better here."
        )
        used = " These videos were used to choose it." if self.was_used else ""
        return (
            f"{self.name.capitalize()}, GAP of {self.mixture} differs by {rival.difference:+.5f} "
            f"from that of {rival.over} (95 % interval {low:+.5f} to {high:+.5f}): {worth}{used}"
        )


@dataclass(frozen=True)
class TuneResult:
    """Result of `tune`: mixture weights and their GAP on several sets of videos.

    Args:
        weights: The mixture.
        method: The search method.
        seed: Seed of folds, search and bootstrap.
        gap_in_sample: GAP on the videos tuned on.
        judgements: On the videos of each fold under weights tuned on the other folds, and on the
            videos held out; either may be missing, not both.
        num_evaluations: Mixtures scored.
        trace: Each improvement as (mixtures scored so far, GAP in sample).
        was_interrupted: Whether a search was stopped before its end.
        chosen_by: What decided between tuned and uniform weights: `out of fold`, `held out`,
            `too few videos`, `no folds`, or `keep tuned`.
        shrinkage: Share t of the searched weights in the tuned ones.
        dropped: Reason by member that was given weight 0.
        bias_precision: Precision tau of the class bias; `None` if none was taken.
    """

    weights: MixtureWeights
    method: str
    seed: int
    gap_in_sample: float
    judgements: tuple[HeldOutResult, ...]
    num_evaluations: int
    trace: tuple[tuple[int, float], ...]
    was_interrupted: bool
    chosen_by: str
    shrinkage: float
    dropped: Mapping[str, str]
    bias_precision: float | None = None

    @property
    def choice(self) -> str:
        """Sentence that says what was taken and why."""
        bias = "with" if self.weights.class_bias else "without"
        return (
            f"Taken {bias} a class bias, the searched weights having share {self.shrinkage:.3f}; "
            f"chosen by: {self.chosen_by}."
        )

    @property
    def gap_out_of_fold(self) -> float | None:
        """GAP of videos under weights tuned without them; `None` without folds."""
        return self._gap("out of fold")

    @property
    def gap_held_out(self) -> float | None:
        """GAP of the videos held out; `None` without any."""
        return self._gap("held out")

    @property
    def optimism(self) -> float | None:
        """GAP in sample minus out of fold, both over the videos tuned on; `None` without folds."""
        outside = self.gap_out_of_fold
        return None if outside is None else self.gap_in_sample - outside

    def _gap(self, name: str) -> float | None:
        return next((j.gap for j in self.judgements if j.name == name), None)
