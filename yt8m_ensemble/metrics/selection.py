"""Pick each video's best classes, exactly and with a stated tie rule. Knows no labels.

The work is one read of the scores: classes are folded into about `sqrt(k * C)` groups, the maximum
of each group is taken at memory speed, and only the `k` best groups are looked into.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble.errors import PredictionsError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCKS_FOR_THREADS = 16
_ROWS = 128  # rows a block: it stays in the cache while it is folded
_MAX_GROUPS = 256  # rows up to this width sort within vector registers


def top_k_classes(scores: NDArray[np.floating], top_k: int) -> NDArray[np.int32]:
    """Return the classes of each row's `top_k` highest scores, in rising class order.

    Where scores tie at the border, the lower class id is kept, so the answer depends on nothing
    but the row.

    Args:
        scores: Shape `(N, C)`, any float dtype.
        top_k: Classes kept a row; all `C` if there are fewer.

    Returns:
        Class ids, shape `(N, min(top_k, C))`, rising along each row.

    Raises:
        UsageError: If `top_k` is below 1.
        PredictionsError: If a score is nan.

    Examples:
        >>> top_k_classes(np.array([[0.1, 0.7, 0.9, 0.7]]), 2)  # 0.7 twice: class 1 wins
        array([[1, 2]], dtype=int32)
    """
    if top_k < 1:
        msg = f"top_k is {top_k}; at least 1 class must be kept. Set `--top-k`."
        raise UsageError(msg, top_k=top_k)
    num_rows, num_classes = scores.shape
    kept = np.empty((num_rows, min(top_k, num_classes)), np.int32)

    def select(start: int) -> None:
        block = scores[start : start + _ROWS]
        kept[start : start + _ROWS] = _top_k_of_block(block, top_k, first_row=start)

    starts = range(0, num_rows, _ROWS)
    if len(starts) < _BLOCKS_FOR_THREADS:
        for start in starts:
            select(start)
    else:
        # numpy lets go of Python's lock for nearly all of a block's work.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(select, starts))
    return kept


def _top_k_of_block(
    block: NDArray[np.floating], top_k: int, *, first_row: int
) -> NDArray[np.int32]:
    num_rows, num_classes = block.shape
    num_groups = max(top_k + 1, min(int((top_k * num_classes) ** 0.5), _MAX_GROUPS))
    # One straight read brings the block into the cache, and a maximum hands nan on.
    if np.isnan(block.max(initial=-np.inf)):
        row, class_id = map(int, np.argwhere(np.isnan(block))[0])
        msg = f"The score of class {class_id} in row {first_row + row} is nan. Predict it again."
        raise PredictionsError(msg, row=first_row + row, class_id=class_id)
    if num_classes <= top_k:
        return np.broadcast_to(np.arange(num_classes, dtype=np.int32), block.shape)
    # Class c belongs to group c % num_groups, so that a group's maximum is a maximum of slices.
    maxima = block[:, :num_groups].copy()
    for offset in range(num_groups, num_classes, num_groups):
        piece = block[:, offset : offset + num_groups]
        np.maximum(maxima[:, : piece.shape[1]], piece, out=maxima[:, : piece.shape[1]])
    groups, ambiguous = _best_columns(maxima, top_k)
    folds = np.arange(0, num_classes, num_groups)
    places = (groups + (np.arange(num_rows) * num_classes)[:, None])[:, :, None] + folds
    values = block.ravel().take(places, mode="clip")
    # The last fold may be short; what lies beyond it must never win.
    values[:, :, -1][groups + folds[-1] >= num_classes] = -np.inf
    best, also_ambiguous = _best_columns(values.reshape(num_rows, -1), top_k)
    group, fold = np.divmod(best, len(folds))
    classes = np.take_along_axis(groups, group, axis=1) + fold * num_groups
    chosen = np.sort(classes.astype(np.int32), axis=1)
    ties = np.flatnonzero(ambiguous | also_ambiguous)
    if len(ties):
        chosen[ties] = _top_k_by_rule(block[ties], top_k)
    return chosen


def _best_columns(
    values: NDArray[np.floating], top_k: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    # Each row's `top_k` best columns, and whether a tie made that choice arbitrary. A full sort of
    # short rows is vectorized, and faster than a partition of positions.
    num_rows, width = values.shape
    chosen = values >= np.sort(values, axis=1)[:, width - top_k, None]
    tied = np.zeros(num_rows, np.bool_)
    if np.count_nonzero(chosen) > num_rows * top_k:
        tied = np.count_nonzero(chosen, axis=1) > top_k
        chosen[tied] &= np.cumsum(chosen[tied], axis=1) <= top_k
    columns = np.flatnonzero(chosen).reshape(num_rows, top_k)
    return columns - (np.arange(num_rows) * width)[:, None], tied


def _top_k_by_rule(rows: NDArray[np.floating], top_k: int) -> NDArray[np.int32]:
    # The tie rule spelled out: everything above the border, then the lowest classes on it.
    num_classes = rows.shape[1]
    border = np.partition(rows, num_classes - top_k, axis=1)[:, num_classes - top_k, None]
    above = rows > border
    level = rows == border
    room = top_k - np.count_nonzero(above, axis=1)[:, None]
    chosen = above | (level & (np.cumsum(level, axis=1) <= room))
    return np.nonzero(chosen)[1].reshape(len(rows), top_k).astype(np.int32)


def falling_order(values: NDArray[np.floating]) -> NDArray[Any]:
    """Return the positions that sort values downwards, equal values by position.

    A stable argsort, done for float32 and float16 as one sort of 64-bit keys (score bits above
    position), which numpy does several times faster.

    Args:
        values: Shape `(n,)`, any float dtype, no nan.

    Returns:
        Positions, shape `(n,)`.

    Examples:
        >>> falling_order(np.array([0.5, 0.9, 0.5], np.float32)).tolist()
        [1, 0, 2]
    """
    if values.dtype.itemsize > np.dtype(np.float32).itemsize or len(values) >> 32:
        return np.argsort(-values, kind="stable")
    # Adding zero makes -0.0 the 0.0 that it equals.
    bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32)
    # Bits of positive floats rise with the float, bits of negative ones fall: flip to always fall.
    falling = np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF))
    keys = (falling.astype(np.uint64) << np.uint64(32)) | np.arange(len(values), dtype=np.uint64)
    keys.sort()
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
