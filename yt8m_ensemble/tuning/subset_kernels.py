"""Compiled loops behind `subset_search`: the highest mean that any completion of a set reaches.

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

    Without `signs` it is the plain mean of a complete set, in the arithmetic of `mixing.mix`.

    Args:
        linked: Variants' scores in the mixing space, `(V, n)`, float32.
        columns: Variants that are in the set, int64.
        envelopes: Each member's highest score over its variants times `signs`, `(M, n)`, float32.
        held: Members in the set whose variant is open, int64.
        available: Members of which the rest of the set is taken, int64.
        size: Members of the complete set.
        signs: 1 for hits, -1 for misses, `(n,)` or `(0,)`, float32.
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
        if len(signs) == 0:
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


@compiled
def highest_precisions(mean: Any, hits: Any, top: float, counts: Any) -> float:
    """Return at least the sum of the precisions at the hits' ranks, without sorting.

    Pairs fall into narrow cells by their score; within a cell hits rank before misses.

    Args:
        mean: Scores in `[-top, top]`, `(n,)`, float32; others count at the ends.
        hits: Whether each is a positive, `(n,)`, bool.
        top: The highest score.
        counts: Room for the misses and the hits of each cell, `(cells, 2)`, int32.

    Returns:
        The sum in float64.
    """
    num_cells = len(counts)
    counts[:] = 0
    scale = np.float32(num_cells / (2 * top))
    low, last = np.float32(-top), np.float32(num_cells - 1)
    for i in range(len(mean)):
        cell = int(min(max((mean[i] - low) * scale, np.float32(0)), last))
        counts[cell, int(hits[i])] += 1
    total = 0.0
    num_hits = rank = 0
    for cell in range(num_cells - 1, -1, -1):
        for _ in range(counts[cell, 1]):
            num_hits += 1
            rank += 1
            total += num_hits / rank
        rank += counts[cell, 0]
    return total
