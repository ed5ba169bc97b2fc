"""Moving averages that training kept beside its variables, taken in their place. Opens no file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from yt8m_ensemble.averaging.mean import BlockSource
from yt8m_ensemble.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.values import TensorSource, TensorSpec

SHADOW = "/ExponentialMovingAverage"
"""What `tf.train.ExponentialMovingAverage` appends to a variable's name."""


class ShadowSource:
    """The tensors of a source, those that have a moving average with its values.

    Args:
        source: The source.
        path: Where it is from, for messages.

    Raises:
        UsageError: If it holds no moving average of a variable.
    """

    def __init__(self, source: TensorSource, *, path: str) -> None:
        specs = source.specs()
        self._source = source
        self._shadows = {name: name + SHADOW for name in specs if name + SHADOW in specs}
        if not self._shadows:
            msg = f"`--use-ema`: '{path}' holds no `…{SHADOW}` of a variable. Leave the option out."
            raise UsageError(msg, path=path)
        shadows = {*self._shadows.values()}
        self._specs = {
            name: replace(specs[self._shadows.get(name, name)], name=name)
            for name in specs
            if name not in shadows
        }

    def specs(self) -> Mapping[str, TensorSpec]:
        """Return the description of every tensor but the moving averages, in sorted order."""
        return self._specs

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor, its moving average if it has one."""
        return self._source.read(self._shadows.get(name, name))

    def read_block(self, name: str, start: int, out: NDArray[Any]) -> None:
        """Fill a buffer with part of a numeric tensor.

        Args:
            name: A name in `specs()`.
            start: Position of the first value in row-major order.
            out: Contiguous array of the tensor's dtype to fill.
        """
        name = self._shadows.get(name, name)
        if isinstance(self._source, BlockSource):
            self._source.read_block(name, start, out)
        else:
            out[:] = self._source.read(name).reshape(-1)[start : start + len(out)]
