"""Tune on some videos, judge on others: gains with paired bootstrap intervals.

Joins candidates, scoring and search; reads no file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.tuning.scoring import Scorer, paired_differences
from yt8m_ensemble.tuning.search import search_weights
from yt8m_ensemble.values import SPACES, MixtureWeights, Space

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.tuning.candidates import Candidates

NUM_RESAMPLES = 1000
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Gain:
    """Compare the tuned mixture with another over the same videos.

    Args:
        over: What it is compared with.
        gap_in_sample: GAP of the other on the videos tuned on.
        gap_held_out: GAP of the other on the videos held out.
        difference: GAP of the tuned mixture minus the other's, held out.
        interval: Paired bootstrap interval of that difference, 95 %.
    """

    over: str
    gap_in_sample: float
    gap_held_out: float
    difference: float
    interval: tuple[float, float]

    @property
    def is_real(self) -> bool:
        """Whether the interval lies above 0."""
        return self.interval[0] > 0


@dataclass(frozen=True)
class TuneResult:
    """Hold tuned mixture weights and what they are worth.

    Args:
        weights: The mixture.
        method: The search method.
        seed: Its seed, also of the bootstrap.
        gap_in_sample: GAP on the videos tuned on.
        gap_held_out: GAP on the videos held out.
        standard_error: Bootstrap error of `gap_held_out`.
        gains: Over the uniform mixture of each space and over the best single member.
        num_videos: Videos tuned on and held out.
        num_evaluations: Mixtures scored.
        trace: Each improvement as (mixtures scored so far, GAP in sample).
        was_interrupted: Whether a search was stopped before its end.
    """

    weights: MixtureWeights
    method: str
    seed: int
    gap_in_sample: float
    gap_held_out: float
    standard_error: float
    gains: tuple[Gain, ...]
    num_videos: tuple[int, int]
    num_evaluations: int
    trace: tuple[tuple[int, float], ...]
    was_interrupted: bool

    @property
    def optimism(self) -> float:
        """How much higher GAP is on the videos tuned on than on the videos held out."""
        return self.gap_in_sample - self.gap_held_out


def split_videos(
    video_ids: NDArray[np.bytes_], *, fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split videos into those to tune on and those to hold out, by a seeded hash of their ids.

    The side of a video depends on its id and the seed alone, so more videos never move others.

    Args:
        video_ids: Shape `(N,)`, bytes.
        fraction: Share to hold out, in `(0, 1)`.
        seed: Seed of the hash.

    Returns:
        Rows to tune on and rows to hold out, rising.

    Raises:
        UsageError: If the fraction leaves either side without a video.
    """
    held_out = video_hashes(video_ids, seed=seed) < fraction
    tuned, held = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    if not len(tuned) or not len(held):
        msg = (
            f"Holding out {fraction:g} of {len(video_ids)} videos leaves {len(tuned)} to tune on "
            f"and {len(held)} to judge on. Use more videos, or another `--holdout`."
        )
        raise UsageError(msg, num_videos=len(video_ids), holdout=fraction)
    return tuned, held


def video_hashes(video_ids: NDArray[np.bytes_], *, seed: int) -> NDArray[np.float64]:
    """Return a number in `[0, 1)` for each video id, uniform over ids and fixed for a seed."""
    key = str(seed).encode()
    digests = [hashlib.blake2b(i, digest_size=8, key=key).digest() for i in video_ids.tolist()]
    return np.frombuffer(b"".join(digests), "<u8") / 2.0**64


def tune(
    tuned_on: Candidates,
    held_out: Candidates,
    *,
    space: Space | Literal["auto"] = "auto",
    method: str = "grid",
    step: float = 0.05,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> TuneResult:
    """Search weights (and the space) on some videos and judge them on others.

    Args:
        tuned_on: Candidates of the videos to search on.
        held_out: Candidates of other videos; the search never sees them.
        space: Mixing space; `auto` takes the one of highest GAP on `tuned_on`.
        method: A key of `TUNERS`.
        step: Resolution of the weights.
        seed: Seed of the search and the bootstrap.
        num_resamples: Bootstrap resamples.

    Returns:
        The mixture with its GAP on both sides and its gains.

    Raises:
        UsageError: If method, step or space are unknown.
    """
    if space != "auto" and space not in SPACES:
        msg = f"There is no mixing space '{space}'; one of auto, {', '.join(SPACES)}."
        raise UsageError(msg, space=space)
    inner = {s: Scorer(tuned_on, s) for s in SPACES}
    outer = {s: Scorer(held_out, s) for s in SPACES}
    searched = SPACES if space == "auto" else (space,)
    found = {s: search_weights(inner[s], method=method, step=step, seed=seed) for s in searched}
    chosen = max(found, key=lambda s: found[s].gap)
    best = found[chosen]
    rivals = _rivals(tuned_on.names, inner)
    gaps = paired_differences(
        [(outer[chosen], best.values), *((outer[s], v) for s, v in rivals.values())],
        num_resamples=num_resamples,
        seed=seed,
    )
    gap_held_out = outer[chosen].gap(best.values)
    gains = []
    for (label, (at, values)), resampled in zip(rivals.items(), gaps[1:], strict=True):
        rival = outer[at].gap(values)
        gains.append(
            Gain(
                label,
                inner[at].gap(values),
                rival,
                gap_held_out - rival,
                _interval(gaps[0] - resampled),
            )
        )
    return TuneResult(
        weights=MixtureWeights.normalized(tuned_on.names, best.values.tolist(), space=chosen),
        method=method,
        seed=seed,
        gap_in_sample=best.gap,
        gap_held_out=gap_held_out,
        standard_error=float(np.std(gaps[0], ddof=1)),
        gains=tuple(gains),
        num_videos=(tuned_on.num_videos, held_out.num_videos),
        num_evaluations=sum(f.num_evaluations for f in found.values()),
        trace=best.trace,
        was_interrupted=any(f.was_interrupted for f in found.values()),
    )


def _rivals(
    names: tuple[str, ...], scorers: Mapping[Space, Scorer]
) -> dict[str, tuple[Space, NDArray[np.float64]]]:
    # The mixtures to beat: uniform in each space, and the best single member in sample.
    num_members = len(names)
    singles = np.eye(num_members)
    best = max(range(num_members), key=lambda m: scorers["probability"].gap(singles[m]))
    rivals: dict[str, tuple[Space, NDArray[np.float64]]] = {
        f"uniform {space}": (space, np.full(num_members, 1 / num_members)) for space in scorers
    }
    return rivals | {f"best single ({names[best]})": ("probability", singles[best])}


def _interval(differences: NDArray[np.float64]) -> tuple[float, float]:
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return float(low), float(high)
