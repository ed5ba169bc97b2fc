"""How much each checkpoint counts in an average. Pure arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.errors import MixtureWeightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

_WINDOWS = (2, 3, 5, 8, 13, 20)
_LONG_WINDOWS = (5, 10, 20)
_DECAYS = (0.5, 0.8)
# Shares of a decay that is done, from 0 to 1, to the learning rate that is left.
_SCHEDULES: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "cosine": lambda done: (1 + np.cos(np.pi * done)) / 2,
    "1 - sqrt": lambda done: 1 - np.sqrt(done),
}

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


def candidate_weights(count: int) -> dict[str, tuple[float, ...]]:
    """Return the averages of the last of `count` checkpoints that are worth a try, by name.

    Uniform and linear means of windows of several lengths, exponential moving averages, and means
    that imitate a decay of the learning rate that training did not make: with a schedule d that
    falls from 1 to 0 over k checkpoints, checkpoint i counts d_(i-1) - d_i, which is 1 / k for a
    linear d. Equal ones come once.

    Args:
        count: Number of checkpoints, at least 1.

    Returns:
        Weights of all checkpoints, oldest first, sum 1; those outside a window have 0.

    Source:
        Tian et al., "WSM: Decay-Free Learning Rate Schedule via Checkpoint Merging", 2025, for
        weights as differences of a schedule.

    Examples:
        >>> list(candidate_weights(2))
        ['uniform 2', 'linear 2', '1 - sqrt decay 2', 'ema 0.8']
        >>> [round(weight, 3) for weight in candidate_weights(2)["1 - sqrt decay 2"]]
        [0.707, 0.293]
    """
    windows = sorted({min(k, count) for k in _WINDOWS})
    found = {f"uniform {k}": average_weights("uniform", k) for k in windows}
    for k in sorted({min(k, count) for k in _LONG_WINDOWS}):
        found[f"linear {k}"] = average_weights("linear", k)
        for name, schedule in _SCHEDULES.items():
            found[f"{name} decay {k}"] = tuple((-np.diff(schedule(np.arange(k + 1) / k))).tolist())
    for decay in _DECAYS:
        found[f"ema {decay:g}"] = average_weights(f"ema:{decay}", count)
    distinct: dict[tuple[float, ...], str] = {}
    for name, shares in found.items():
        whole = (0.0,) * (count - len(shares)) + shares
        if len(shares) > 1:
            distinct.setdefault(tuple(np.round(whole, 12).tolist()), name)
    return {name: weights for weights, name in distinct.items()}


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
