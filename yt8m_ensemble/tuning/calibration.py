"""One temperature for a whole logit mixture, so that its scores can be read as probabilities.

    p = sigmoid(z / T),   z the mixed logit with its class bias

T is where the mean log loss of all classes of the videos tuned on is least, which is convex in
1 / T. It moves no score past another. Scores pass once, into bins of their logit, so memory does
not grow with videos. Reads no file.

Source:
    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, for one temperature.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from yt8m_ensemble.errors import PredictionsError
from yt8m_ensemble.mixing import mix, mix_in_space, to_space

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.values import MixtureWeights

    Block = tuple[NDArray[np.float32], NDArray[np.bool_]]

# Clipped logits lie within 16.2; biases move them. A bin's logits are taken at their mean, which
# errs in the log loss of a score by at most width² / 96 < 1e-7.
_LIMIT: Final = 40.0
_NUM_BINS: Final = 1 << 15

_RANGE_OF_T: Final = (0.05, 20.0)
_STEPS: Final = 100
_CONVERGED: Final = 1e-10
_SHOWN: Final = np.array([0, 1e-4, 1e-3, 0.01, 0.03, *np.arange(0.1, 1.01, 0.1)])


@dataclass(frozen=True)
class Reliability:
    """How often classes are right that were given about the same probability.

    Args:
        predicted: Mean probability of each group, shape `(G,)`, float64.
        observed: Share of true labels in it.
        counts: Scores in it.
    """

    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class Calibration:
    """Result of `calibrate`.

    Args:
        weights: The mixture with its temperature.
        videos: What the losses are of: `held out`, or `in sample` if no video was held out.
        num_videos: Their number.
        log_loss: Nats a video, summed over classes, without and with the temperature.
        brier: Squared error a video, summed over classes, without and with it.
        reliability: Without and with it.
    """

    weights: MixtureWeights
    videos: str
    num_videos: int
    log_loss: tuple[float, float]
    brier: tuple[float, float]
    reliability: tuple[Reliability, Reliability]

    @property
    def sentence(self) -> str:
        """The same in words."""
        (loss, new_loss), (error, new_error) = self.log_loss, self.brier
        return (
            f"Temperature {self.weights.temperature:.4f}: log loss of {self.num_videos} videos "
            f"{self.videos} from {loss:.4f} to {new_loss:.4f} nats a video, Brier score from "
            f"{error:.5f} to {new_error:.5f}."
        )


def calibrate(
    blocks: Iterable[Block],
    weights: MixtureWeights,
    tuned_on: NDArray[np.integer],
    held_out: NDArray[np.integer],
) -> Calibration:
    """Fit the temperature of a logit mixture and judge it.

    Args:
        blocks: Row blocks of all scores `(M, B, C)`, float32, and labels `(B, C)`, bool; members as
            in the mixture.
        weights: The mixture, in logit space; its own temperature is replaced.
        tuned_on: Rows to fit on.
        held_out: Rows to judge on; without any the fit is judged in sample.

    Returns:
        The mixture with its temperature, between 0.05 and 20, and its losses.

    Raises:
        PredictionsError: If the labels to fit on are all true or all false.
    """
    plain = replace(weights, temperature=1.0)
    inner, outer = _Bins(), _Bins()
    start = 0
    for scores, labels in blocks:
        rows = np.arange(start, start + len(labels))
        start += len(labels)
        logits = mix_in_space(list(scores), plain)
        for bins, own in ((inner, tuned_on), (outer, held_out)):
            part = np.isin(rows, own)
            bins.add(logits[part], labels[part])
    if not 0 < inner.hits.sum() < inner.counts.sum():
        msg = (
            f"The labels of the {inner.num_videos} videos to tune on are all alike, so no "
            "temperature can be fitted. Leave `--calibrated` out."
        )
        raise PredictionsError(msg, num_videos=inner.num_videos)
    # What is judged is what the graph divides by.
    temperature = float(np.float32(inner.best_temperature()))
    judged, name = (outer, "held out") if outer.num_videos else (inner, "in sample")
    return Calibration(
        replace(weights, temperature=temperature),
        name,
        judged.num_videos,
        (judged.log_loss(1.0), judged.log_loss(temperature)),
        (judged.brier(1.0), judged.brier(temperature)),
        (judged.reliability(1.0), judged.reliability(temperature)),
    )


@dataclass(frozen=True)
class ReliabilityOf:
    """How well the scores of one mixture mean what they say.

    Args:
        log_loss: Nats a video, summed over classes.
        brier: Squared error a video, summed over classes.
        reliability: How often scores come true.
    """

    log_loss: float
    brier: float
    reliability: Reliability


def measure_reliability(
    blocks: Iterable[Block], mixtures: Mapping[str, MixtureWeights], rows: NDArray[np.integer]
) -> dict[str, ReliabilityOf]:
    """Judge the scores of several mixtures as probabilities.

    Args:
        blocks: As of `calibrate`.
        mixtures: Mixtures by name, members as in the blocks.
        rows: Rows to judge on.

    Returns:
        By name, what was found.
    """
    counted = {name: _Bins() for name in mixtures}
    start = 0
    for scores, labels in blocks:
        own = np.isin(np.arange(start, start + len(labels)), rows)
        start += len(labels)
        if own.any():
            for name, weights in mixtures.items():
                mixed = mix([member[own] for member in scores], weights)
                counted[name].add(to_space(mixed, "logit"), labels[own])
    return {
        name: ReliabilityOf(bins.log_loss(1.0), bins.brier(1.0), bins.reliability(1.0))
        for name, bins in counted.items()
    }


class _Bins:
    """Scores of some videos, counted by their logit."""

    def __init__(self) -> None:
        self.num_videos = 0
        self.counts = np.zeros(_NUM_BINS, np.int64)
        self.hits = np.zeros(_NUM_BINS, np.int64)
        self._sums = np.zeros(_NUM_BINS)
        self._hit_sums = np.zeros(_NUM_BINS)

    def add(self, logits: NDArray[np.float32], labels: NDArray[np.bool_]) -> None:
        self.num_videos += len(labels)
        flat = np.clip(logits.ravel().astype(np.float64), -_LIMIT, _LIMIT)
        bins = np.minimum((flat + _LIMIT) * (_NUM_BINS / (2 * _LIMIT)), _NUM_BINS - 1).astype(int)
        self.counts += np.bincount(bins, minlength=_NUM_BINS)
        self._sums += np.bincount(bins, flat, minlength=_NUM_BINS)
        true = labels.ravel()
        self.hits += np.bincount(bins[true], minlength=_NUM_BINS)
        self._hit_sums += np.bincount(bins[true], flat[true], minlength=_NUM_BINS)

    @property
    def logits(self) -> NDArray[np.float64]:
        """Mean logit of each bin."""
        return self._sums / np.maximum(self.counts, 1)

    def best_temperature(self) -> float:
        """Return T of the least log loss: Newton's method on 1 / T, kept within a bracket."""
        logits = self.logits
        low, high = (1 / end for end in reversed(_RANGE_OF_T))
        inverse = 1.0
        for _ in range(_STEPS):
            chance = _sigmoid(inverse * logits)
            slope = np.sum(self._sums * chance - self._hit_sums)
            curve = np.sum(self.counts * logits**2 * chance * (1 - chance))
            low, high = (low, inverse) if slope > 0 else (inverse, high)
            step = inverse - slope / curve if curve > 0 else low
            step = step if low < step < high else (low + high) / 2
            if abs(step - inverse) < _CONVERGED:
                break
            inverse = step
        return float(1 / inverse)

    def log_loss(self, temperature: float) -> float:
        scaled = self.logits / temperature
        total = self.counts * np.logaddexp(0, scaled) - self._hit_sums / temperature
        return float(np.sum(total) / self.num_videos)

    def brier(self, temperature: float) -> float:
        chance = _sigmoid(self.logits / temperature)
        of_hits = _sigmoid(self._hit_sums / np.maximum(self.hits, 1) / temperature)
        total = self.counts * chance**2 + self.hits * (1 - 2 * of_hits)
        return float(np.sum(total) / self.num_videos)

    def reliability(self, temperature: float) -> Reliability:
        chance = _sigmoid(self.logits / temperature)
        group = np.digitize(chance, _SHOWN[1:-1])
        counts, hits, sums = (
            np.bincount(group, values, minlength=len(_SHOWN) - 1)
            for values in (self.counts, self.hits, self.counts * chance)
        )
        some = counts > 0
        return Reliability(
            sums[some] / counts[some], hits[some] / counts[some], counts[some].astype(np.int64)
        )


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-values))
