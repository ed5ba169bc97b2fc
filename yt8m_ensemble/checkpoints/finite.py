"""Refusal of weights that are no numbers. Reads nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray


def finite_blocks(
    blocks: Iterable[NDArray[Any]], *, name: str, place: str
) -> Iterator[NDArray[Any]]:
    """Pass the blocks of a weight through, and refuse NaN and infinities.

    All blocks are looked at before the refusal, so that the message counts them all.

    Args:
        blocks: Runs of the weight's values, any shape; only floating point is looked at.
        name: The tensor.
        place: Where it lies, for the message.

    Yields:
        Each block as it is.

    Raises:
        CheckpointError: After the last block, if a value is not finite.
    """
    size = count = 0
    for block in blocks:
        size += block.size
        # The narrow floats of `ml_dtypes` are of kind "V".
        if block.dtype.kind in "fcV":
            count += block.size - int(np.count_nonzero(np.isfinite(block)))
        yield block
    if count:
        msg = (
            f"{count:,} of {size:,} values of '{name}' in '{place}' are NaN or infinite. Use an "
            "earlier checkpoint: its training had diverged."
        )
        raise CheckpointError(msg, tensor=name, path=place, count=count, size=size)
