"""What checkpoints, averaging, casting and merging hand to each other: tensors by name.

Holds descriptions (`TensorSpec`), the reading protocol (`TensorSource`) and its in-memory form
(`DictSource`). Never opens a file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from yt8m_ensemble.values.dtypes import NUMPY_DTYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a file.

    Args:
        name: Its name in the checkpoint, e.g. `tower/gates/weights`.
        shape: Its dimensions; `()` is a scalar.
        dtype: Its dtype by TensorFlow's name: `float32`, `bfloat16`, `int64`, `string`, …
    """

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the values; 0 for strings, whose size the shape does not tell."""
        return self.size * NUMPY_DTYPES[self.dtype].itemsize if self.dtype in NUMPY_DTYPES else 0


class TensorSource(Protocol):
    """Anything that lists tensors and reads them one by one."""

    def specs(self) -> Mapping[str, TensorSpec]:
        """Return the description of every tensor, by name, in sorted order."""
        ...

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor; a read-only memory map where the source is a file."""
        ...


class DictSource:
    """Arrays in memory as a `TensorSource`.

    Args:
        arrays: Arrays by tensor name; they are not copied.

    Examples:
        >>> source = DictSource({"w": np.zeros((2, 3), np.float32)})
        >>> source.specs()["w"]
        TensorSpec(name='w', shape=(2, 3), dtype='float32')
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = {name: np.asarray(arrays[name]) for name in sorted(arrays)}

    def specs(self) -> Mapping[str, TensorSpec]:
        """Return the description of every array, by name, in sorted order."""
        return {
            name: TensorSpec(name, array.shape, _dtype_name(array.dtype))
            for name, array in self._arrays.items()
        }

    def read(self, name: str) -> NDArray[Any]:
        """Return one array.

        Raises:
            KeyError: If there is none of that name.
        """
        return self._arrays[name]


class CombinedSource:
    """The tensors of several sources as one.

    Args:
        sources: Where a name occurs twice, the first wins.

    Examples:
        >>> w, b = DictSource({"w": np.ones(2)}), DictSource({"b": np.zeros(1)})
        >>> list(CombinedSource(w, b).specs())
        ['b', 'w']
    """

    def __init__(self, *sources: TensorSource) -> None:
        self._sources = sources

    def specs(self) -> Mapping[str, TensorSpec]:
        """Return the description of every tensor, by name, in sorted order."""
        found = {name: spec for s in reversed(self._sources) for name, spec in s.specs().items()}
        return {name: found[name] for name in sorted(found)}

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor.

        Raises:
            KeyError: If no source has one of that name.
        """
        for source in self._sources:
            if name in source.specs():
                return source.read(name)
        raise KeyError(name)


@dataclass(frozen=True)
class Checkpoint:
    """Point at one checkpoint on disk; carries no arrays.

    Args:
        prefix: Path without `.index`.
        global_step: The training step it was saved at; `None` if it holds no `global_step`.
        specs: Its tensors by name.
    """

    prefix: str
    global_step: int | None
    specs: Mapping[str, TensorSpec]

    @property
    def nbytes(self) -> int:
        """Bytes of all numeric tensors."""
        return sum(spec.nbytes for spec in self.specs.values())


def _dtype_name(dtype: np.dtype[Any]) -> str:
    return "string" if dtype.kind in "OSU" else dtype.name
