"""GAP over the simplex of weights, sampled for pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.tuning.tuners import simplex_grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yt8m_ensemble.tuning.scoring import Scorer

GRID_STEPS = 20
NUM_SHARES = 41


@dataclass(frozen=True)
class WeightSweep:
    """GAP sampled over the mixture weights.

    Args:
        names: Member names.
        best: The tuned weights, shape `(M,)`.
        best_gap: Their GAP.
        grid: For three members points `(P, 3)` of the simplex, else no points `(0, M)`.
        grid_gaps: Their GAPs, shape `(P,)`.
        shares: Weights that each member takes in turn, the others in proportion, shape `(S,)`.
        slices: GAP by member and share, shape `(M, S)`.
    """

    names: tuple[str, ...]
    best: NDArray[np.float64]
    best_gap: float
    grid: NDArray[np.float64]
    grid_gaps: NDArray[np.float64]
    shares: NDArray[np.float64]
    slices: NDArray[np.float64]


def sweep_weights(scorer: Scorer, best: NDArray[np.float64]) -> WeightSweep:
    """Score the simplex of three members on a grid, and one slice for each member of any number.

    Args:
        scorer: Scores mixtures.
        best: The tuned weights, shape `(M,)`.

    Returns:
        The sampled GAPs.
    """
    num_members = len(best)
    three = num_members == 3  # noqa: PLR2004 - a triangle has three corners
    grid = np.array(list(simplex_grid(3, GRID_STEPS))) if three else np.zeros((0, num_members))
    shares = np.linspace(0, 1, NUM_SHARES)
    slices = np.empty((num_members, NUM_SHARES))
    for member, one in enumerate(np.eye(num_members)):
        others = best * (1 - one)
        others = others / others.sum() if others.sum() > 0 else (1 - one) / max(num_members - 1, 1)
        slices[member] = [scorer.gap(s * one + (1 - s) * others + 1e-12 * one) for s in shares]
    grid_gaps = np.array([scorer.gap(point) for point in grid])
    return WeightSweep(
        scorer.candidates.names, best, scorer.gap(best), grid, grid_gaps, shares, slices
    )
