"""Pick each video's best classes, exactly and with a stated tie rule. Knows no labels."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble import mapped
from yt8m_ensemble.errors import PredictionsError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROWS = 1024  # rows a thread takes at a time
_VALUES = 1 << 20  # turned into keys at a time
_SMALL = 1 << 15  # scores that numpy sorts in 3 ms; loading numba takes 0.6 s, compiling 5 s


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
        msg = f"top_k is {top_k}, expected at least 1: the number of classes to keep."
        raise UsageError(msg, top_k=top_k)
    num_rows, num_classes = scores.shape
    if num_classes <= top_k:
        _refuse_nan(scores, first_row=0)
        return np.tile(np.arange(num_classes, dtype=np.int32), (num_rows, 1))
    if scores.size <= _SMALL:
        _refuse_nan(scores, first_row=0)
        # The minus turns no two scores into one, so a stable sort keeps the tie rule.
        best = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
        return np.sort(best, axis=1).astype(np.int32)
    from yt8m_ensemble.metrics import kernels

    kept = np.empty((num_rows, top_k), np.int32)

    def select(start: int) -> None:
        # A float16 is a float32; what is neither of the compiled dtypes is copied block by block.
        dtype = np.result_type(scores, np.float32)
        block = np.ascontiguousarray(scores[start : start + _ROWS], dtype)
        if kernels.select_classes(block, top_k, kept[start : start + _ROWS]) >= 0:
            _refuse_nan(block, first_row=start)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(select, range(0, num_rows, _ROWS)))
    return kept


def _refuse_nan(scores: NDArray[np.floating], *, first_row: int) -> None:
    found = np.argwhere(np.isnan(scores))
    if len(found):
        row, class_id = int(found[0, 0]) + first_row, int(found[0, 1])
        msg = f"The score of class {class_id} in row {row} is nan. Predict it again."
        raise PredictionsError(msg, row=row, class_id=class_id)


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
    keys = mapped.empty((len(values),), np.uint64)
    for start in range(0, len(values), _VALUES):
        # Adding zero makes -0.0 the 0.0 that it equals.
        part = values[start : start + _VALUES].astype(np.float32) + np.float32(0)
        bits = part.view(np.uint32)
        # Bits of positive floats rise with the float, bits of negative ones fall: flip to always
        # fall.
        falling = np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF)).astype(np.uint64)
        places = np.arange(start, start + len(part), dtype=np.uint64)
        keys[start : start + len(part)] = (falling << np.uint64(32)) | places
    return _places(keys)


def order_by_class(class_ids: NDArray[np.int32]) -> NDArray[Any]:
    """Return the positions that sort pairs by class, those of a class by position.

    Args:
        class_ids: Class of each pair, shape `(n,)`.

    Returns:
        Positions, shape `(n,)`.
    """
    if len(class_ids) >> 32:
        return np.argsort(class_ids, kind="stable")
    keys = mapped.empty((len(class_ids),), np.uint64)
    for start in range(0, len(keys), _VALUES):
        part = class_ids[start : start + _VALUES].astype(np.uint64)
        places = np.arange(start, start + len(part), dtype=np.uint64)
        keys[start : start + len(part)] = (part << np.uint64(32)) | places
    return _places(keys)


def _places(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the places of keys, a value above a place each, by value; the keys are overwritten."""
    keys.sort()
    keys &= np.uint64(0xFFFFFFFF)
    return keys.view(np.int64)
