"""Which checkpoints to average, judged by a score: greedy soup, and the last k for every k.

The score comes from the caller (`score(source) -> float`, higher is better), so that this room
knows neither models nor records.

Source: Wortsman et al., "Model soups", ICML 2022, recipe 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble.averaging.mean import mean_blocks
from yt8m_ensemble.values.dtypes import NUMPY_DTYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.averaging.plan import AveragePlan
    from yt8m_ensemble.values import TensorSource, TensorSpec

    Score = Callable[[TensorSource], float]


@dataclass(frozen=True)
class Trial:
    """Score of one candidate average.

    Args:
        inputs: Labels of what was averaged, the one added last at the end.
        score: Its score.
        kept: Whether it became the best so far.
    """

    inputs: tuple[str, ...]
    score: float
    kept: bool


class MeanSource:
    """The mean of sources as a source, each tensor computed when it is read.

    Args:
        sources: The inputs by label.
        plan: What is averaged and what is copied.
        weights: One for each input, sum 1; uniform if `None`.
        allow_nonfinite: Let NaN and infinities through.
    """

    def __init__(
        self,
        sources: Mapping[str, TensorSource],
        plan: AveragePlan,
        weights: Sequence[float] | None = None,
        *,
        allow_nonfinite: bool = False,
    ) -> None:
        self._allow_nonfinite = allow_nonfinite
        self._sources = sources
        self._plan = plan
        self._weights = weights or [1 / len(sources)] * len(sources)

    def specs(self) -> Mapping[str, TensorSpec]:
        """Return the description of every tensor of the average, by name, in sorted order."""
        return self._plan.specs

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor: the mean, or the value that all inputs share."""
        if name in self._plan.copied:
            return self._plan.copied[name]
        spec = self._plan.specs[name]
        mean = np.empty(spec.size, NUMPY_DTYPES[spec.dtype])
        means = mean_blocks(
            self._sources, [spec], self._weights, allow_nonfinite=self._allow_nonfinite
        )
        for _, blocks in means:
            start = 0
            for block in blocks:
                mean[start : start + len(block)] = block
                start += len(block)
        return mean.reshape(spec.shape)


class RunningMean:
    """The mean of all sources added so far; holds one float64 sum of each tensor.

    Args:
        plan: What is averaged and what is copied.
    """

    def __init__(self, plan: AveragePlan) -> None:
        self._plan = plan
        self._sums: dict[str, NDArray[Any]] = {}
        self._count = 0

    def add(self, source: TensorSource) -> None:
        """Add one more source to the sums."""
        for name in (spec.name for spec in self._plan.averaged):
            values = source.read(name)
            wide = np.complex128 if values.dtype.kind == "c" else np.float64
            if name in self._sums:
                np.add(self._sums[name], values, out=self._sums[name])
            else:
                self._sums[name] = values.astype(wide)
        self._count += 1

    def specs(self) -> Mapping[str, TensorSpec]:
        """Return the description of every tensor of the average, by name, in sorted order."""
        return self._plan.specs

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor: the mean so far, or the value that all inputs share."""
        if name in self._plan.copied:
            return self._plan.copied[name]
        mean: NDArray[Any] = (self._sums[name] / self._count).astype(self._plan.specs[name].dtype)
        return mean


def greedy_soup(
    sources: Mapping[str, TensorSource],
    plan: AveragePlan,
    *,
    score: Score,
    note: Callable[[Trial], None] = lambda _: None,
) -> list[Trial]:
    """Add checkpoints one by one, best first, keeping each that does not lower the score.

    Args:
        sources: The candidates by label.
        plan: What is averaged of them.
        score: Judges a source; higher is better.
        note: Called with each trial as it is done.

    Returns:
        All trials: each candidate alone, by falling score (ties in the order given), then each
        soup tried. The soup is the last trial that was kept.
    """
    alone = {label: score(MeanSource({label: s}, plan)) for label, s in sources.items()}
    ranked = sorted(alone, key=lambda label: -alone[label])
    trials = [Trial((label,), alone[label], label == ranked[0]) for label in ranked]
    soup, best = [ranked[0]], alone[ranked[0]]
    for label in ranked[1:]:
        tried = [*soup, label]
        result = score(MeanSource({name: sources[name] for name in tried}, plan))
        trial = Trial(tuple(tried), result, result >= best)
        if trial.kept:
            soup, best = tried, result
        trials.append(trial)
        note(trial)
    return trials


def search_last(
    sources: Mapping[str, TensorSource],
    plan: AveragePlan,
    *,
    score: Score,
    note: Callable[[Trial], None] = lambda _: None,
) -> list[Trial]:
    """Score the mean of the last k for k = 1 … N, reading every source once.

    Args:
        sources: The candidates by label, oldest first.
        plan: What is averaged of them.
        score: Judges a source; higher is better.
        note: Called with each trial as it is done.

    Returns:
        The trials in the order of k; the best is the last that was kept (ties: the smaller k).
    """
    running = RunningMean(plan)
    trials: list[Trial] = []
    best = -np.inf
    newest: list[str] = []
    for label in reversed(list(sources)):
        running.add(sources[label])
        newest.append(label)
        result = score(running)
        trial = Trial(tuple(newest), result, result > best)
        best = max(best, result)
        trials.append(trial)
        note(trial)
    return trials


def chosen(trials: Sequence[Trial]) -> tuple[str, ...]:
    """Return what the last trial that was kept averaged."""
    return next(trial.inputs for trial in reversed(trials) if trial.kept)
