"""The safetensors format: an eight-byte length, a JSON header, the values. Streams both ways.

TensorFlow has dtypes that the format lacks. Strings go into its free-text metadata as base64,
quantized integers are stored as integers and named there, so that a round trip is exact.

Source: the format section of the safetensors README. The package `safetensors` wants all tensors in
memory at once to write them, so it serves only to test this module.
"""

from __future__ import annotations

import json
import math
from base64 import b64decode, b64encode
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np

from yt8m_ensemble.checkpoints.entries import numpy_dtype, tf_dtype
from yt8m_ensemble.checkpoints.shards import Shard
from yt8m_ensemble.decoding import convert_json, decode_json
from yt8m_ensemble.errors import CheckpointError
from yt8m_ensemble.values import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.values import TensorSource

T = TypeVar("T")

_NAMES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64",
    "int32": "I32", "int16": "I16", "int8": "I8", "uint64": "U64", "uint32": "U32",
    "uint16": "U16", "uint8": "U8", "bool": "BOOL", "complex64": "C64",
    "float8_e5m2": "F8_E5M2", "float8_e4m3fn": "F8_E4M3",
}  # fmt: skip
_DTYPES = {short: name for name, short in _NAMES.items()}
_STRINGS, _QUANTIZED = "yt8m_ensemble.strings", "yt8m_ensemble.dtypes"
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit
_LENGTH_BYTES = 8
_ADVICE = "Copy the file again."


class _Tensor(msgspec.Struct):
    """What the header says of a tensor."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


class _Strings(msgspec.Struct):
    """A tensor of strings, in base64."""

    shape: list[int]
    values: list[str]

    def decoded(self) -> NDArray[Any]:
        """Return the strings as `bytes`."""
        strings = np.empty(len(self.values), object)
        strings[:] = [b64decode(text, validate=True) for text in self.values]
        return strings.reshape(self.shape)


class SafetensorsSource:
    """A safetensors file as a `TensorSource` of memory maps.

    Args:
        path: The file.

    Raises:
        CheckpointError: If it is no such file or shorter than its header says.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._data = Shard(path)
        try:
            header = self._read_header()
            metadata = self._typed(header.pop("__metadata__", {}), dict[str, str])
            quantized = self._decoded(metadata.get(_QUANTIZED, "{}"), dict[str, str])
            strings = self._decoded(metadata.get(_STRINGS, "{}"), dict[str, _Strings])
            self._places: dict[str, int] = {}
            specs = [
                self._parse(name, self._typed(item, _Tensor), quantized.get(name))
                for name, item in header.items()
            ]
            self._strings = {name: item.decoded() for name, item in strings.items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            msg = f"'{path}' is no safetensors file, or a damaged one: {error}. Copy it again."
            raise CheckpointError(msg, path=path) from error
        specs += [TensorSpec(n, values.shape, "string") for n, values in self._strings.items()]
        self._specs = {spec.name: spec for spec in sorted(specs, key=lambda spec: spec.name)}

    def _typed(self, value: Any, kind: type[T]) -> T:
        return convert_json(value, kind, path=self.path, error=CheckpointError, advice=_ADVICE)

    def _decoded(self, text: str | bytes, kind: type[T]) -> T:
        return decode_json(text, kind, path=self.path, error=CheckpointError, advice=_ADVICE)

    def specs(self) -> Mapping[str, TensorSpec]:
        """Return the description of every tensor, by name, in sorted order."""
        return self._specs

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor, a read-only memory map unless it is of strings."""
        spec = self._specs[name]
        if name in self._strings:
            return self._strings[name]
        start = self._places[name]
        data = self._data.view()[start : start + spec.size * numpy_dtype(spec.dtype).itemsize]
        return np.frombuffer(data, numpy_dtype(spec.dtype)).reshape(spec.shape)

    def _read_header(self) -> dict[str, Any]:
        data = self._data.view()
        length = int.from_bytes(data[:_LENGTH_BYTES], "little")
        if not 0 < length <= min(len(data) - _LENGTH_BYTES, _MAX_HEADER_BYTES):
            msg = f"its header should have {length:,} bytes, the file has {len(data):,}"
            raise CheckpointError(msg)
        self._first = _LENGTH_BYTES + length
        return self._decoded(bytes(data[_LENGTH_BYTES : self._first]), dict[str, Any])

    def _parse(self, name: str, item: _Tensor, quantized: str | None) -> TensorSpec:
        """Return a tensor's description, its place checked against the file's size.

        Raises:
            CheckpointError: If it does not lie within the file.
        """
        spec = TensorSpec(name, tuple(item.shape), quantized or _DTYPES[item.dtype])
        start, end = item.data_offsets
        size = math.prod(spec.shape) * numpy_dtype(spec.dtype).itemsize
        stored = len(self._data.view()) - self._first
        if min((*spec.shape, start)) < 0 or end - start != size or end > stored:
            msg = f"'{name}' lies at {start} to {end} of {stored} bytes and needs {size}"
            raise CheckpointError(msg)
        self._places[name] = self._first + start
        return spec


def write_safetensors(file: IO[bytes], source: TensorSource) -> None:
    """Write all tensors of a source, one at a time.

    Args:
        file: Where to.
        source: The tensors.

    Raises:
        CheckpointError: If a tensor's dtype has no place in the format.
    """
    header: dict[str, Any] = {}
    strings, quantized = {}, {}
    start = 0
    for name, spec in source.specs().items():
        if spec.dtype == "string":
            values = [b64encode(item).decode() for item in source.read(name).reshape(-1)]
            strings[name] = {"shape": spec.shape, "values": values}
            continue
        stored = tf_dtype(numpy_dtype(spec.dtype))
        if stored not in _NAMES:
            msg = f"safetensors has no dtype for '{name}' ({spec.dtype}). Convert it to `.h5`."
            raise CheckpointError(msg, tensor=name, dtype=spec.dtype)
        if stored != spec.dtype:
            quantized[name] = spec.dtype
        end = start + spec.size * numpy_dtype(stored).itemsize
        header[name] = {"dtype": _NAMES[stored], "shape": spec.shape, "data_offsets": [start, end]}
        start = end
    extra = {_STRINGS: strings, _QUANTIZED: quantized}
    metadata = {key: json.dumps(value) for key, value in extra.items() if value}
    text = json.dumps({**({"__metadata__": metadata} if metadata else {}), **header})
    # Padded so that the values lie aligned, as the package does.
    encoded = text.encode()
    encoded += b" " * (-len(encoded) % _LENGTH_BYTES)
    file.write(len(encoded).to_bytes(_LENGTH_BYTES, "little") + encoded)
    for name in header:
        file.write(np.ascontiguousarray(source.read(name)).reshape(-1).view(np.uint8).data)


def open_safetensors(path: str) -> SafetensorsSource:
    """Return a safetensors file, open; see `SafetensorsSource`.

    Raises:
        CheckpointError: If there is no such file.
    """
    if not Path(path).is_file():
        msg = f"There is no file '{path}'."
        raise CheckpointError(msg, path=path)
    return SafetensorsSource(path)
