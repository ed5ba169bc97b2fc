"""A threshold for each class, for those who need labels rather than rankings.

A class is said of a video if its score is at least the class's threshold. Thresholds are chosen on
the videos tuned on, where F1 over the labels of all classes is highest,

    F1 = 2 hits / (said + positives),   said = hits + false labels,

or, class by class, where most true labels are said at a wanted precision, hits / said. A class has
one only if thresholds fitted without a video, fold by fold, are worth it on these videos, too.

The F1 of all classes, F, is highest where each threshold makes 2 hits - F said of its class
highest; F is then found by iteration. (F1 of each class by itself would say a class that no score
can tell of every video.) Scores pass once, into bins of their logit, so memory does not grow with
videos: 1,024 bins of 0.02 from 3e-5 to 0.99997. Reads no file.

Source:
    Dinkelbach, "On Nonlinear Fractional Programming", Management Science 13, 1967.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from yt8m_ensemble.errors import PredictionsError, UsageError
from yt8m_ensemble.mixing import mix

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from yt8m_ensemble.values import MixtureWeights

    Block = tuple[NDArray[np.float32], NDArray[np.bool_]]

_NUM_BINS: Final = 1024
_LIMIT: Final = 10.24
_FORMAT: Final = 1
_CONVERGED: Final = 1e-9


@dataclass(frozen=True)
class Objective:
    """What thresholds are chosen for.

    Args:
        precision: The precision of each class to keep; `None` for the highest F1 of all classes.
    """

    precision: float | None = None

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Read `f1` or `precision:P`.

        Returns:
            The objective.

        Raises:
            UsageError: If it is neither, or P is no share.

        Examples:
            >>> Objective.parse("precision:0.9")
            Objective(precision=0.9)
        """
        kind, colon, value = text.partition(":")
        if text == "f1":
            return cls()
        try:
            share = float(value)
        except ValueError:
            share = 0.0
        if kind != "precision" or not colon or not 0 < share <= 1:
            msg = (
                f"`--objective` is '{text}', expected `f1` or `precision:P` with P above 0 and at "
                "most 1, as in `precision:0.9`."
            )
            raise UsageError(msg, option="--objective", value=text)
        return cls(share)

    def __str__(self) -> str:
        return "f1" if self.precision is None else f"precision:{self.precision:g}"


@dataclass(frozen=True)
class Labelling:
    """How well labels of some videos were said, counted over all classes.

    Args:
        videos: `out of fold`, or `held out`.
        num_videos: Their number.
        precision: Share of said labels that are true; NaN if none was said.
        recall: Share of true labels that were said.
        f1: Their harmonic mean.
    """

    videos: str
    num_videos: int
    precision: float
    recall: float
    f1: float

    @property
    def sentence(self) -> str:
        """The same in words."""
        return (
            f"Labels of {self.num_videos} videos {self.videos}: precision {self.precision:.4f}, "
            f"recall {self.recall:.4f}, F1 {self.f1:.4f}."
        )


@dataclass(frozen=True)
class Thresholds:
    """Result of `fit_thresholds`.

    Args:
        objective: What they were chosen for.
        values: One for each class, in probability; `None` where no label is ever to be said.
        labellings: How well they do on videos that they were not fitted on.
    """

    objective: Objective
    values: tuple[float | None, ...]
    labellings: tuple[Labelling, ...]

    def to_json(self) -> str:
        """Return the content of a thresholds file."""
        found = {
            "format": _FORMAT,
            "num_classes": len(self.values),
            "objective": str(self.objective),
            "thresholds": list(self.values),
        }
        return json.dumps(found, allow_nan=False) + "\n"


def fit_thresholds(
    blocks: Iterable[Block],
    weights: MixtureWeights,
    objective: Objective,
    *,
    folds: NDArray[np.integer],
) -> Thresholds:
    """Fit a threshold for each class and judge them on other videos.

    Args:
        blocks: Row blocks of scores `(M, B, C)`, float32, and labels `(B, C)`, bool; members as in
            the mixture.
        weights: The mixture.
        objective: What to choose for.
        folds: The fold of each row, shape `(N,)`, integers from 0; -1 for held-out rows.

    Returns:
        The thresholds.

    Raises:
        PredictionsError: If the videos to tune on have no label at all.
    """
    counts: list[_Counts] = []
    start = 0
    for scores, labels in blocks:
        rows = folds[start : start + len(labels)]
        start += len(labels)
        if not counts:
            counts = [_Counts(labels.shape[1]) for _ in range(int(folds.max()) + 2)]
        bins = _bins(mix(list(scores), weights))
        for fold, own in enumerate(counts, start=-1):
            own.add(bins[rows == fold], labels[rows == fold])
    held_out, *parts = counts
    whole = _Counts.joined(parts)
    if not whole.positives.any():
        msg = (
            f"The {whole.num_videos} videos to tune on have no label, so there is nothing to find "
            "thresholds for. Leave `--thresholds` out."
        )
        raise PredictionsError(msg, num_videos=whole.num_videos)
    chosen, f1 = whole.choose(objective)
    labellings = []
    if len(parts) > 1:
        # One at a time: of thousands of classes each takes tens of megabytes.
        outside = (_Counts.joined([p for p in parts if p is not part]) for part in parts)
        # Of each fold, what thresholds of the other folds say: hits and labels said by class.
        tallies = [
            part.said(o.choose(objective)[0]) for part, o in zip(parts, outside, strict=True)
        ]
        hits, said = (sum(column) for column in zip(*tallies, strict=True))
        worth = (
            2 * hits > f1 * said
            if objective.precision is None
            else _keeps(objective.precision, hits, said)
        )
        chosen[~worth] = _NUM_BINS
        hits, said = (np.where(chosen < _NUM_BINS, count, 0) for count in (hits, said))
        labellings.append(_labelling("out of fold", whole, hits, said))
    if held_out.num_videos:
        labellings.append(_labelling("held out", held_out, *held_out.said(chosen)))
    values = tuple(None if bin_ == _NUM_BINS else _edge(bin_) for bin_ in chosen.tolist())
    return Thresholds(objective, values, tuple(labellings))


class _Counts:
    """Scores and positives of some videos by class and bin, shape `(C, bins)`."""

    def __init__(self, num_classes: int) -> None:
        self.num_videos = 0
        self._scores = np.zeros((num_classes, _NUM_BINS), np.int32)
        self._hits = np.zeros((num_classes, _NUM_BINS), np.int32)

    @classmethod
    def joined(cls, parts: list[_Counts]) -> _Counts:
        whole = cls(len(parts[0]._scores))
        for part in parts:
            whole.num_videos += part.num_videos
            whole._scores += part._scores
            whole._hits += part._hits
        return whole

    @property
    def positives(self) -> NDArray[np.int64]:
        count: NDArray[np.int64] = self._hits.sum(axis=1, dtype=np.int64)
        return count

    def add(self, bins: NDArray[np.int64], labels: NDArray[np.bool_]) -> None:
        self.num_videos += len(labels)
        places = np.arange(len(self._scores)) * _NUM_BINS + bins
        for counts, own in ((self._scores, places.ravel()), (self._hits, places[labels])):
            np.add.at(counts.reshape(-1), own, 1)

    def choose(self, objective: Objective) -> tuple[NDArray[np.int64], float]:
        """Return the first bin that is said of each class, and F1 of all classes.

        The number of bins stands for a class that is never said.
        """
        # What a threshold at each bin's lower edge says.
        said, hits = (
            np.cumsum(counts[:, ::-1], axis=1, dtype=np.int64)[:, ::-1]
            for counts in (self._scores, self._hits)
        )
        if objective.precision is not None:
            gains = np.where(_keeps(objective.precision, hits, said), hits, 0)
            return _highest(gains), 0.0
        f1, before = 0.5, -1.0
        while f1 > before + _CONVERGED or f1 < before - _CONVERGED:
            before = f1
            chosen = _highest(2 * hits - f1 * said)
            true, all_said = self.said(chosen)
            f1 = float(2 * true.sum() / (all_said.sum() + self.positives.sum()))
        return chosen, f1

    def said(self, thresholds: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the true labels and all labels that thresholds say, by class."""
        above = np.arange(_NUM_BINS) >= thresholds[:, None]
        return (
            np.sum(self._hits, axis=1, where=above, dtype=np.int64),
            np.sum(self._scores, axis=1, where=above, dtype=np.int64),
        )


def _highest(gains: NDArray[np.number]) -> NDArray[np.int64]:
    """Return the bin of the highest gain of each class, of equals the last; no bin without gain."""
    best = _NUM_BINS - 1 - np.argmax(gains[:, ::-1], axis=1)
    chosen: NDArray[np.int64] = np.where(gains.max(axis=1) > 0, best, _NUM_BINS)
    return chosen


def _keeps(precision: float, hits: NDArray[np.int64], said: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return where a precision is kept even if one more label is said that is not true.

    Without that one, a class of two videos that are right by luck would count as certain.
    """
    kept: NDArray[np.bool_] = hits >= precision * (said + 1)
    return kept


def _labelling(
    videos: str, counts: _Counts, hits: NDArray[np.int64], said: NDArray[np.int64]
) -> Labelling:
    true, all_said, positives = int(hits.sum()), int(said.sum()), int(counts.positives.sum())
    return Labelling(
        videos,
        counts.num_videos,
        true / all_said if all_said else float("nan"),
        true / positives if positives else float("nan"),
        2 * true / max(all_said + positives, 1),
    )


def _bins(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    inner = np.clip(scores.astype(np.float64), 1e-9, 1 - 1e-9)
    position = (np.log(inner / (1 - inner)) + _LIMIT) * (_NUM_BINS / (2 * _LIMIT))
    return np.clip(np.floor(position), 0, _NUM_BINS - 1).astype(np.int64)


def _edge(position: int) -> float:
    """Return the lowest score of a bin; of the first one it is 0."""
    if position == 0:
        return 0.0
    return float(1 / (1 + np.exp(_LIMIT - position * (2 * _LIMIT / _NUM_BINS))))
