"""Bytes to features and back, as the YouTube-8M records store them. Plain numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.constants import DEQUANTIZE_BIAS, DEQUANTIZE_SCALE

if TYPE_CHECKING:
    from numpy.typing import NDArray


def dequantize(quantized: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn bytes into features: q * 4/255 + 4/512 - 2, in float32.

    Args:
        quantized: Any shape, uint8.

    Returns:
        The same shape, float32, from -1.9921875 to 2.0078125.

    References:
        Starter code of the challenge, `utils.Dequantize`.

    Examples:
        >>> dequantize(np.array([0, 255], np.uint8))
        array([-1.9921875,  2.0078125], dtype=float32)
    """
    scaled = quantized.astype(np.float32) * np.float32(DEQUANTIZE_SCALE)
    return scaled + np.float32(DEQUANTIZE_BIAS)


def quantize(features: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Turn features into the bytes whose dequantised values lie nearest; clips what is outside.

    The error is at most half a step, 2/255, within the range; `quantize(dequantize(q)) == q`.

    Args:
        features: Any shape, any float dtype, finite.

    Returns:
        The same shape, uint8.

    Examples:
        >>> quantize(np.array([-5.0, 0.0, 2.0]))  # 0.0 is (2 - 4/512) * 255/4 = 127.002 steps up
        array([  0, 127, 255], dtype=uint8)
    """
    steps = np.rint((features - DEQUANTIZE_BIAS) / DEQUANTIZE_SCALE)
    quantized: NDArray[np.uint8] = np.clip(steps, 0, 255).astype(np.uint8)
    return quantized
