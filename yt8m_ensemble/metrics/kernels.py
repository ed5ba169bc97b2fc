"""The compiled loop behind `top_k_classes`. Plain arrays in and out, no checks.

Loaded only when something is ranked; numba keeps the machine code beside the source.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from yt8m_ensemble.metrics.compiling import compiled

_MAX_GROUPS = 256
_HALVINGS = 16
_SPARE = 6


@compiled
def select_classes(scores: Any, top_k: int, kept: Any) -> int:
    """Write the classes of each row's `top_k` highest scores, in rising order.

    Class c belongs to group c % G, so that the groups' maxima are maxima of slices, taken at memory
    speed. A value that `top_k` of them reach bounds the row's `top_k`-th highest score from below:
    only the few groups that reach it are looked into.

    Args:
        scores: Shape `(N, C)`, contiguous, float32 or float64.
        top_k: Classes kept a row, fewer than `C`.
        kept: Output, `(N, top_k)`, int32.

    Returns:
        The first row that holds a nan, where the loop ends; -1 if there is none.
    """
    num_classes = scores.shape[1]
    num_groups = max(top_k + 1, min(int((top_k * num_classes) ** 0.5), _MAX_GROUPS))
    maxima = np.empty(num_groups, scores.dtype)
    best = np.empty(top_k, scores.dtype)
    classes = np.empty(top_k, np.int32)
    for row in range(len(scores)):
        values = scores[row]
        if _fold(values, maxima):
            return row
        border = _lower_bound(maxima, top_k)
        count = 0
        for group in range(num_groups):
            if maxima[group] >= border:
                for class_id in range(group, num_classes, num_groups):
                    value = values[class_id]
                    if value >= border and (
                        count < top_k
                        or value > best[count - 1]
                        or (value == best[count - 1] and class_id < classes[count - 1])
                    ):
                        count = _insert(value, class_id, best, classes, count)
        _write_sorted(classes, kept[row])
    return -1


@compiled
def _fold(values: Any, maxima: Any) -> bool:
    # Fill in the maximum of each group; tell whether a value is nan.
    num_groups = len(maxima)
    # Loops, not numpy's functions: these take numba seconds to compile, in every new installation.
    for i in range(num_groups):
        maxima[i] = values[i]
    has_nan = False
    for start in range(0, len(values), num_groups):
        piece = values[start : start + num_groups]
        for i in range(len(piece)):
            maxima[i] = max(maxima[i], piece[i])
            has_nan |= piece[i] != piece[i]
    return has_nan


@compiled
def _lower_bound(maxima: Any, top_k: int) -> Any:
    # A value that at least `top_k` maxima reach, and where halving finds one soon few more.
    low = high = maxima[0]
    for i in range(1, len(maxima)):
        low, high = min(low, maxima[i]), max(high, maxima[i])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        count = np.int32(0)
        for i in range(len(maxima)):
            count += np.int32(maxima[i] >= middle)
        if count >= top_k:
            low = middle
            if count <= top_k + _SPARE:
                break
        else:
            high = middle
    return low


@compiled
def _insert(value: Any, class_id: int, best: Any, classes: Any, count: int) -> int:
    # Put a score among the best so far: higher ones first, of equal ones the lower class. If all
    # places are taken, the last one falls out.
    place = min(count, len(best) - 1)
    while place > 0 and (
        best[place - 1] < value or (best[place - 1] == value and classes[place - 1] > class_id)
    ):
        best[place] = best[place - 1]
        classes[place] = classes[place - 1]
        place -= 1
    best[place] = value
    classes[place] = class_id
    return min(count + 1, len(best))


@compiled
def _write_sorted(classes: Any, out: Any) -> None:
    # By insertion: for so few numbers a general sort takes twice as long.
    for i in range(len(classes)):
        place = i
        while place > 0 and out[place - 1] > classes[i]:
            out[place] = out[place - 1]
            place -= 1
        out[place] = classes[i]
