"""Ways to turn members into one score, each fitted on some videos and applied to others.

A contender is fitted on candidates and returns a function that scores any candidates of the same
members. Judging compares contenders; nothing here knows which videos are held out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble import mapped
from yt8m_ensemble.mixing import from_space, mix, to_space
from yt8m_ensemble.tuning.scoring import Scorer
from yt8m_ensemble.tuning.tuners import fit_temperatures, search_weights, simplex_grid
from yt8m_ensemble.values import SPACES, MixtureWeights, Space

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yt8m_ensemble.tuning.candidates import Candidates
    from yt8m_ensemble.tuning.search import SearchResult

ScoreFunction = Callable[["Candidates"], "NDArray[np.float32]"]
"""Scores candidates: shape `(n,)`, float32, confidences."""

Baseline = Callable[["Candidates"], ScoreFunction]
"""Fits itself on candidates."""

_CLASS_GRID_STEPS = 4
_SHRINKAGES = (10.0, 30.0, 100.0, 300.0, 1000.0)


def search_spaces(
    candidates: Candidates, spaces: tuple[Space, ...], *, method: str, step: float, seed: int
) -> tuple[MixtureWeights, dict[Space, SearchResult]]:
    """Search the weights in each space and take the space of highest GAP.

    Args:
        candidates: What to search on.
        spaces: Spaces to search in.
        method: A key of `TUNERS`.
        step: Resolution of the weights.
        seed: Seed of the search.

    Returns:
        The best mixture, and what was found in each space.
    """
    found: dict[Space, SearchResult] = {}
    for space in spaces:
        found[space] = search_weights(
            Scorer(candidates, space), method=method, step=step, seed=seed
        )
        if found[space].was_interrupted:
            break
    best = max(found, key=lambda space: found[space].gap)
    values = found[best].values.tolist()
    return MixtureWeights.normalized(candidates.names, values, space=best), found


def apply_mixture(weights: MixtureWeights) -> ScoreFunction:
    """Return the scorer of a mixture: what its packaged graph would emit.

    Args:
        weights: The mixture.

    Returns:
        The scorer.
    """

    def apply(candidates: Candidates) -> NDArray[np.float32]:
        mixed = mapped.empty(candidates.class_ids.shape, np.float32)
        for part in mapped.blocks(len(mixed)):
            own = [scores[part] for scores in candidates.scores]
            mixed[part] = mix(own, weights, class_ids=candidates.class_ids[part])
        mapped.release(candidates.scores)
        return mixed

    return apply


def uniform(space: Space) -> Baseline:
    """Weigh all members alike in a space; there is nothing to fit.

    Args:
        space: The mixing space.

    Returns:
        The contender.
    """
    return lambda fit: apply_mixture(MixtureWeights.uniform(fit.names, space=space))


def best_single(fit: Candidates) -> ScoreFunction:
    """Take the member of highest GAP on the videos fitted on.

    Args:
        fit: Candidates of the videos to fit on.

    Returns:
        The scorer.
    """
    singles = np.eye(len(fit.names))
    scorer = Scorer(fit, "probability")
    best = int(np.argmax([scorer.gap(single) for single in singles]))
    return lambda candidates: candidates.scores[best]


def mean_of_ranks(fit: Candidates) -> ScoreFunction:
    """Average ranks instead of scores: a yardstick, since no graph can hold ranks.

    A member's ranks run from 0 to 1 over its scores of all videos; equal scores share theirs. They
    are blind to calibration.

    Args:
        fit: Not looked at.

    Returns:
        The scorer.
    """
    del fit
    return _mean_ranks


def _mean_ranks(candidates: Candidates) -> NDArray[np.float32]:
    from yt8m_ensemble.tuning import kernels

    total = mapped.empty(candidates.class_ids.shape, np.float64)
    total[:] = 0
    keys = mapped.empty(total.shape, np.uint64)
    for scores in candidates.scores:
        for part in mapped.blocks(len(keys)):
            # Bits of floats from 0 up rise with the float; -0.0 counts as 0.
            bits = np.maximum(scores[part].view(np.int32), 0).astype(np.uint64)
            keys[part] = bits << np.uint64(32) | np.arange(part.start, part.stop, dtype=np.uint64)
        mapped.release(candidates.scores)
        keys.sort()
        kernels.add_mean_ranks(keys, 1 / len(candidates.names), total)
    mixed = mapped.empty(total.shape, np.float32)
    mixed[:] = total
    return mixed


def tempered(fit: Candidates) -> ScoreFunction:
    """Average probabilities after calibrating each member by its own temperature.

    Args:
        fit: Candidates of the videos to fit on.

    Returns:
        The scorer.
    """
    temperatures = fit_temperatures(fit)

    def apply(candidates: Candidates) -> NDArray[np.float32]:
        weight = np.float32(1 / len(temperatures))
        mixed = mapped.empty(candidates.class_ids.shape, np.float32)
        mixed[:] = 0
        for scores, temperature in zip(candidates.scores, temperatures, strict=True):
            for part in mapped.blocks(len(mixed)):
                logits = to_space(scores[part], "logit") / np.float32(temperature)
                mixed[part] += weight * from_space(logits, "logit")
            mapped.release(candidates.scores)
        return mixed

    return apply


def class_weights(fit: Candidates, weights: MixtureWeights) -> MixtureWeights:
    """Fit weights for each class, shrunk towards the mixture's.

    Each class takes the point of a coarse grid under which its labels are likeliest, then

        w of class c = (n * own + s * shared) / (n + s)

    where `n` counts the class's positives. The shrinkage `s` is the one whose GAP is highest on
    one half of the videos after fitting on the other.

    Args:
        fit: Candidates of the videos to fit on, collected with `per_class`.
        weights: The shared mixture.

    Returns:
        The mixture with `class_values`.
    """
    halves = [fit.select(np.arange(start, fit.num_videos, 2)) for start in (0, 1)]
    shrunk = _likeliest_weights(halves[0], weights)
    scorer = Scorer(halves[1], "probability")
    gaps = [scorer.gap_of(apply_mixture(shrunk(s))(halves[1])) for s in _SHRINKAGES]
    return _likeliest_weights(fit, weights)(_SHRINKAGES[int(np.argmax(gaps))])


def _likeliest_weights(
    fit: Candidates, weights: MixtureWeights
) -> Callable[[float], MixtureWeights]:
    points = np.array(list(simplex_grid(len(fit.names), _CLASS_GRID_STEPS)))
    losses = np.empty((len(points), fit.num_classes))
    for place, point in enumerate(points.tolist()):
        mixed = mix(list(fit.scores), MixtureWeights(fit.names, tuple(point), weights.space))
        right = np.clip(np.where(fit.hits, mixed, 1 - mixed), 1e-7, 1)
        losses[place] = -np.bincount(fit.class_ids, np.log(right), minlength=fit.num_classes)
    own = points[np.argmin(losses, axis=0)].T
    counts = np.bincount(fit.class_ids[fit.hits], minlength=fit.num_classes)

    def shrink(shrinkage: float) -> MixtureWeights:
        # A class without positives keeps the shared weights.
        rows = (counts * own + shrinkage * weights.array[:, None]) / (counts + shrinkage)
        return replace(weights, class_values=tuple(map(tuple, rows.tolist())))

    return shrink


BASELINES: dict[str, Baseline] = {
    **{f"uniform {space}": uniform(space) for space in SPACES},
    "best single": best_single,
    "uniform ranks (cannot be packaged)": mean_of_ranks,
    "uniform tempered (cannot be packaged)": tempered,
}
"""What every tuned mixture is compared with."""
