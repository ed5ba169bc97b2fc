"""Keras 3 weight files (`.weights.h5`), and HDF5 files in general, as tensor sources.

Keras keeps the variables of a layer at `<path of the layer>/vars/<number>`. A tensor
`tower/gates/weights` becomes `tower/gates/vars/0`, so that a Keras model with a layer `gates` in a
layer `tower` loads it; the attribute `tensor_name` keeps the name for the way back. Within a layer
the numbers follow Keras: kernel, bias; gamma, beta, moving mean, moving variance; others by name.
"""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble import hdf5
from yt8m_ensemble.checkpoints.entries import numpy_dtype, tf_dtype
from yt8m_ensemble.checkpoints.strings import format_strings, parse_strings
from yt8m_ensemble.errors import CheckpointError
from yt8m_ensemble.values import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType

    from numpy.typing import NDArray

    from yt8m_ensemble.values import TensorSource

_KERAS_PATH = re.compile(r"(.*/)?vars/\d+")
_ORDER = ("kernel", "weights", "bias", "biases", "gamma", "beta", "moving_mean", "moving_variance")
_NAME, _DTYPE, _SHAPE = "tensor_name", "tf_dtype", "tf_shape"
_KERAS_DTYPE = "dtype"
_HEADER_BYTES = 4096  # of a dataset with its attributes and the groups above it


class H5Source:
    """Every dataset of an HDF5 file as a `TensorSource`; a context manager.

    Args:
        path: The file.

    Raises:
        CheckpointError: If it is no HDF5 file, or two datasets claim one tensor name.
    """

    def __init__(self, path: str) -> None:
        import h5py

        self._path = path
        try:
            hdf5.check_heaps(path)
            self._file = h5py.File(path, "r")
        except OSError as error:
            msg = f"'{path}' is no HDF5 file, or a damaged one: {error}. Copy it again."
            raise CheckpointError(msg, path=path) from error
        self._paths: dict[str, str] = {}
        specs: list[TensorSpec] = []

        def visit(place: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                specs.append(_describe(place, item))
                self._paths[specs[-1].name] = place

        try:
            with self._explained():
                self._file.visititems(visit)
        except CheckpointError:
            self.close()
            raise
        if len(self._paths) < len(specs):
            self.close()
            msg = f"'{path}' names {len(specs) - len(self._paths)} of its tensors twice."
            raise CheckpointError(msg, path=path)
        self._specs = {spec.name: spec for spec in sorted(specs, key=lambda spec: spec.name)}

    def __enter__(self) -> H5Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn whatever damaged content makes HDF5 and numpy raise into one error.

        Yields:
            Nothing.

        Raises:
            CheckpointError: If anything is raised.
        """
        try:
            yield
        except CheckpointError:
            raise
        except Exception as error:
            reason = str(error).strip() or type(error).__name__
            msg = f"'{self._path}' is damaged: {reason.rstrip('.')}. Copy it again."
            raise CheckpointError(msg, path=self._path, reason=reason) from error

    def specs(self) -> Mapping[str, TensorSpec]:
        """Return the description of every dataset, by tensor name, in sorted order."""
        return self._specs

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor, read whole."""
        spec = self._specs[name]
        with self._explained():
            dataset = self._file[self._paths[name]]
            if _DTYPE in dataset.attrs and spec.dtype == "string":
                return parse_strings(dataset[()].tobytes(), spec.shape, None)
            values = np.asarray(dataset[()])
            if spec.dtype == "string":
                return values.astype(object)
            return values.view(numpy_dtype(spec.dtype)).reshape(spec.shape)

    def read_block(self, name: str, start: int, out: NDArray[Any]) -> None:
        """Fill a buffer with part of a numeric tensor, reading only the rows that hold it.

        Args:
            name: A name in `specs()`.
            start: Position of the first value in row-major order.
            out: Contiguous array of the tensor's dtype to fill.
        """
        spec = self._specs[name]
        row = math.prod(spec.shape[1:]) or 1
        first, last = start // row, -(-(start + len(out)) // row)
        with self._explained():
            dataset = self._file[self._paths[name]]
            values = np.asarray(dataset[first:last] if spec.shape else dataset[()])
            flat = values.view(out.dtype).reshape(-1)
            out[:] = flat[start - first * row :][: len(out)]


def write_keras_weights(path: str, source: TensorSource) -> None:
    """Write all tensors of a source, one at a time.

    Args:
        path: The file to make.
        source: The tensors.
    """
    import h5py

    specs = source.specs()
    places = plan_paths(specs)
    size = sum(spec.nbytes + _HEADER_BYTES for spec in specs.values())
    hdf5.create(path)
    hdf5.reserve(path, size)
    with h5py.File(path, "r+") as file:
        for name, spec in specs.items():
            values = source.read(name)
            attributes: dict[str, Any] = {} if places[name] == name else {_NAME: name}
            if spec.dtype == "string":
                values = np.frombuffer(format_strings(values)[0], np.uint8)
                size += values.nbytes
                hdf5.reserve(path, size)
                attributes |= {_DTYPE: "string", _SHAPE: np.asarray(spec.shape, np.int64)}
            elif spec.dtype == "bfloat16":
                attributes[_KERAS_DTYPE] = "bfloat16"  # as Keras marks it
            elif spec.dtype not in {values.dtype.name} or values.dtype.kind == "V":
                # Quantized integers and eight-bit floats are stored as plain integers.
                attributes[_DTYPE] = spec.dtype
                values = values.view(f"i{values.dtype.itemsize}")
            file.create_dataset(places[name], data=values).attrs.update(attributes)


def plan_paths(names: Iterable[str]) -> dict[str, str]:
    """Return where each tensor goes in a Keras weight file.

    Examples:
        >>> plan_paths(["step", "t/beta", "t/gamma", "x/vars/0"])
        {'step': 'vars/0', 't/beta': 't/vars/1', 't/gamma': 't/vars/0', 'x/vars/0': 'x/vars/0'}
    """
    scopes: dict[str, list[str]] = {}
    places = {}
    for name in names:
        if _KERAS_PATH.fullmatch(name):
            places[name] = name
        else:
            scopes.setdefault(name.rpartition("/")[0], []).append(name)
    for scope, members in scopes.items():
        members.sort(key=lambda name: (_rank(name.rpartition("/")[2]), name))
        taken = {place for place in places.values() if place.rpartition("/vars/")[0] == scope}
        free = (f"{scope}/vars/{number}".lstrip("/") for number in range(len(members) + len(taken)))
        for name, place in zip(members, (p for p in free if p not in taken), strict=False):
            places[name] = place
    return {name: places[name] for name in sorted(places)}


def open_keras_weights(path: str) -> H5Source:
    """Return a `.weights.h5` or other HDF5 file, open; see `H5Source`.

    Raises:
        CheckpointError: If there is no such file.
    """
    if not Path(path).is_file():
        msg = f"There is no file '{path}'."
        raise CheckpointError(msg, path=path)
    return H5Source(path)


def _rank(variable: str) -> int:
    return _ORDER.index(variable) if variable in _ORDER else len(_ORDER)


def _describe(place: str, dataset: Any) -> TensorSpec:
    name = str(dataset.attrs.get(_NAME, place))
    if _SHAPE in dataset.attrs:
        shape = tuple(int(size) for size in dataset.attrs[_SHAPE])
        if math.prod(shape) > dataset.size:
            shape = (0,)
        return TensorSpec(name, shape, "string")
    if dataset.attrs.get(_KERAS_DTYPE) == "bfloat16":
        return TensorSpec(name, dataset.shape, "bfloat16")
    dtype = dataset.attrs.get(_DTYPE) or tf_dtype(dataset.dtype)
    return TensorSpec(name, dataset.shape, str(dtype))
