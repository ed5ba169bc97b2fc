"""How much each checkpoint counts in an average. Pure arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.errors import MixtureWeightsError

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMES = "`uniform`, `linear`, `ema:DECAY` or numbers"


def average_weights(scheme: str | Sequence[float], count: int) -> tuple[float, ...]:
    """Return the weight of each of `count` checkpoints, oldest first, in float64 with sum 1.

    `uniform`: 1/k. `linear`: j / (1 + … + k) for the j-th oldest. `ema:d`: the exponential moving
    average e_1 = x_1, e_j = d e_(j-1) + (1 - d) x_j, hence d^(k-1) for the oldest and
    (1 - d) d^(k-j) for the others. Numbers are divided by their sum.

    Args:
        scheme: One of those, or numbers as a sequence or comma-separated text.
        count: Number of checkpoints, at least 1.

    Returns:
        The weights; each at least 0.

    Raises:
        MixtureWeightsError: If the scheme is unknown, a decay outside [0, 1), or numbers are
            negative, not finite, all zero or not `count` many.

    Examples:
        >>> average_weights("ema:0.5", 3)  # 0.5², 0.5 * 0.5, 0.5
        (0.25, 0.25, 0.5)
        >>> average_weights("1,3", 2)
        (0.25, 0.75)
    """
    if scheme == "uniform":
        return (1 / count,) * count
    if scheme == "linear":
        return _normalize(range(1, count + 1))
    if isinstance(scheme, str) and scheme.startswith("ema:"):
        decay = _parse_decay(scheme)
        newer = [(1 - decay) * decay ** (count - j) for j in range(2, count + 1)]
        return (decay ** (count - 1), *newer)
    numbers = _parse_numbers(scheme) if isinstance(scheme, str) else list(scheme)
    if len(numbers) != count:
        msg = f"There are {len(numbers)} weights for {count} checkpoints. Give one for each."
        raise MixtureWeightsError(msg, found=len(numbers), expected=count)
    if not np.isfinite(numbers).all() or min(numbers) < 0 or max(numbers) == 0:
        msg = (
            f"The weights {', '.join(f'{number:g}' for number in numbers)} must be finite and not "
            "negative, and one of them above 0."
        )
        raise MixtureWeightsError(msg, weights=tuple(numbers))
    return _normalize(numbers)


def _parse_decay(scheme: str) -> float:
    try:
        decay = float(scheme.removeprefix("ema:"))
    except ValueError:
        decay = -1.0
    if not 0 <= decay < 1:
        msg = f"The decay in '{scheme}' must be a number from 0 to below 1, e.g. `ema:0.7`."
        raise MixtureWeightsError(msg, scheme=scheme)
    return decay


def _parse_numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        msg = f"'{text}' is no way to weigh checkpoints. Use {SCHEMES}, e.g. `--weights 1,2,2`."
        raise MixtureWeightsError(msg, scheme=text) from error


def _normalize(numbers: Sequence[float]) -> tuple[float, ...]:
    values = np.asarray(numbers, np.float64)
    return tuple((values / values.sum()).tolist())
