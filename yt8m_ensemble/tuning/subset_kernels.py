"""Compiled loop behind `subset_search`: the highest mean that any completion of a set reaches.

Plain arrays in and out, no checks. Numba keeps the machine code beside the source.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from yt8m_ensemble.metrics.compiling import compiled

_BLOCK = 1024  # pairs whose best completions stay in the first-level cache


@compiled
def highest_mean(  # noqa: PLR0917 - compiled functions take no keywords
    linked: Any,
    columns: Any,
    envelopes: Any,
    held: Any,
    available: Any,
    size: int,
    signs: Any,
    slack: float,
    mean: Any,
) -> None:
    """Average a set of `size` members so that hits are as high and misses as low as can be.

    Without `held` and `available` it is the plain mean, in the arithmetic of `mixing.mix`.

    Args:
        linked: Variants' scores in the mixing space, `(V, n)`, float32.
        columns: Variants that are in the set, int64.
        envelopes: Each member's highest score over its variants times `signs`, `(M, n)`, float32.
        held: Members in the set whose variant is open, int64.
        available: Members of which the rest of the set is taken, int64.
        size: Members of the complete set.
        signs: 1 for hits, -1 for misses, `(n,)`, float32.
        slack: What rounding can take from a mean; added to hits, taken from misses.
        mean: Output, `(n,)`, float32.
    """
    weight = np.float32(1 / size)
    num_taken = size - len(columns) - len(held)
    best = np.empty((num_taken, _BLOCK), np.float32)
    for start in range(0, len(mean), _BLOCK):
        end = min(start + _BLOCK, len(mean))
        count = end - start
        total = mean[start:end]
        total[:] = 0
        for column in columns:
            row = linked[column, start:end]
            for i in range(count):
                total[i] += weight * row[i]
        if len(held) + num_taken == 0:
            continue
        sign = signs[start:end]
        for i in range(count):
            total[i] = total[i] * sign[i] + np.float32(slack)
        for member in held:
            row = envelopes[member, start:end]
            for i in range(count):
                total[i] += weight * row[i]
        best[:] = -np.inf
        for member in available:
            _keep_highest(best, envelopes[member, start:end].copy())
        for place in range(num_taken):
            for i in range(count):
                total[i] += weight * best[place, i]
        for i in range(count):
            total[i] *= sign[i]


@compiled
def _keep_highest(best: Any, row: Any) -> None:
    # Each score goes down the falling list of its pair until it meets a lower one.
    for place in range(len(best)):
        top = best[place]
        for i in range(len(row)):
            low = min(top[i], row[i])
            top[i] = max(top[i], row[i])
            row[i] = low
