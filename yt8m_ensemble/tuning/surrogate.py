"""A smooth stand-in for GAP with an analytic gradient, for methods that need one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yt8m_ensemble.tuning.scoring import Scorer

_NUM_EDGES = 400


class SmoothGap:
    """Approximate GAP near one mixture: its pool is kept fixed, its ranks are softened.

    Exact ranks jump as weights move; here each score is shared between the two nearest of 400
    edges, so that value and gradient change continuously (see `kernels.soft_precision`).

    Args:
        scorer: Scores mixtures exactly.
        values: The mixture whose pool and score quantiles are taken, shape `(M,)`.
    """

    def __init__(self, scorer: Scorer, values: NDArray[np.float64]) -> None:
        self._scorer = scorer
        self._pool = np.sort(scorer.pool(values))
        scores = values @ scorer.linked[:, self._pool]
        # Quantiles of the hits: where hits are dense, precision must be known finely.
        hits = scores[scorer.candidates.hits[self._pool]]
        ends = [scores.min(), *hits, scores.max()]
        self._edges = np.unique(np.quantile(ends, np.linspace(0, 1, _NUM_EDGES)))

    def __call__(self, values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the approximate GAP and its gradient.

        Args:
            values: Weights, shape `(M,)`.

        Returns:
            The value and the gradient of shape `(M,)`, float64.
        """
        from yt8m_ensemble.tuning import kernels

        held = self._scorer.candidates
        gradient = np.zeros(len(values))
        total = kernels.soft_precision(
            self._scorer.linked, self._pool, held.hits, values, self._edges, gradient
        )
        return total / held.num_positives, gradient / held.num_positives
