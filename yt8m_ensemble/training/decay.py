"""Decays that start short of memory. Options of training are in `options.train`."""

from __future__ import annotations


def warm_decay(decay: float, step: int) -> float:
    """Return `min(decay, (1 + step) / (10 + step))`: averages that start short of memory.

    Args:
        decay: The decay once enough steps are done.
        step: Steps done.

    Examples:
        >>> warm_decay(0.999, 0), warm_decay(0.999, 100_000)
        (0.1, 0.999)
    """
    return min(decay, (1 + step) / (10 + step))
