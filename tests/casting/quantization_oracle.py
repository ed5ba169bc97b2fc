"""Slow quantisation, one value at a time, written from the formulas; shares no code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def affine(matrix: np.ndarray, levels: int) -> np.ndarray:
    """Return the decoded matrix when each column has evenly spaced levels."""
    decoded = np.empty(matrix.shape, np.float32)
    for column in range(matrix.shape[1]):
        values = [float(v) for v in matrix[:, column]]
        offset = np.float32(min(values))
        scale = np.float32((max(values) - min(values)) / (levels - 1))
        for row, value in enumerate(values):
            best = min(range(levels), key=lambda q: abs(float(scale) * q + float(offset) - value))
            decoded[row, column] = np.float32(best) * scale + offset
    return decoded


def nearest(codebook: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return each value's distance to the nearest entry."""
    return np.array([min(abs(float(v) - float(e)) for e in codebook) for v in values.ravel()])


def quantile_codebook(values: Sequence[float], size: int) -> list[float]:
    """Return the means of `size` runs of equally many values in rising order."""
    ordered = sorted(map(float, values))
    runs = [ordered[i * len(ordered) // size : (i + 1) * len(ordered) // size] for i in range(size)]
    return [sum(run) / len(run) for run in runs]
