"""Averages of tensors in memory, as a dict of arrays. Opens no file and writes none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble.averaging.mean import mean_blocks
from yt8m_ensemble.averaging.plan import plan_average
from yt8m_ensemble.averaging.weights import average_weights
from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.values import DictSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.values import TensorSource


def average(
    sources: Sequence[Mapping[str, NDArray[Any]] | TensorSource],
    weights: str | Sequence[float] = "uniform",
    *,
    keep_optimizer: bool = False,
    allow_nonfinite: bool = False,
) -> dict[str, NDArray[Any]]:
    """Average the tensors of several checkpoints, summed in float64.

    Rules as for `average_checkpoints`: counters are the last source's, other integers must be
    equal, and the optimizer's slots are left out.

    Args:
        sources: Arrays by name, or open checkpoints; oldest first.
        weights: `uniform`, `linear`, `ema:DECAY`, or a number of at least 0 for each source.
        keep_optimizer: Average the optimizer's slots too.
        allow_nonfinite: Accept NaN and infinity in the inputs.

    Returns:
        The mean by tensor name, each array of the inputs' shape and dtype.

    Raises:
        UsageError: If there is no source, or the weights do not fit.
        TensorMismatchError: If names, shapes, dtypes or integers differ.
        CheckpointError: If an input holds NaN or infinity.

    Examples:
        >>> average([{"w": np.float32([0, 2])}, {"w": np.float32([1, 4])}])["w"].tolist()
        [0.5, 3.0]
    """
    if not sources:
        msg = "There is nothing to average. Give at least one source."
        raise UsageError(msg)
    opened: dict[str, TensorSource] = {
        f"source {number}": DictSource(source) if isinstance(source, Mapping) else source
        for number, source in enumerate(sources)
    }
    plan = plan_average(opened, newest=list(opened)[-1], keep_optimizer=keep_optimizer)
    shares = average_weights(weights, len(opened))
    found = dict(plan.copied)
    means = mean_blocks(opened, plan.averaged, shares, allow_nonfinite=allow_nonfinite)
    for spec, blocks in means:
        # A block's memory is used again, so each is copied before the next is taken.
        parts = [block.copy() for block in blocks]
        found[spec.name] = np.concatenate(parts).reshape(spec.shape)
    return {name: found[name] for name in plan.specs}
