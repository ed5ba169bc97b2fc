"""What a `.index` file says of each tensor: `BundleHeaderProto` and `BundleEntryProto`.

Source: TensorFlow's `core/protobuf/tensor_bundle.proto` and `core/framework/types.proto`; keys of
slices as `core/util/saved_tensor_slice_util.cc` and `core/lib/strings/ordered_code.cc` form them.
Opens no file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from yt8m_ensemble.checkpoints import wire
from yt8m_ensemble.errors import CheckpointError
from yt8m_ensemble.values.dtypes import DTYPE_NAMES, NUMPY_DTYPES

if TYPE_CHECKING:
    import numpy as np

Extent = tuple[int, int]
"""Start and length along one axis; a length of -1 is the whole axis."""

FULL = -1

_MAX_VALUES = 1 << 58  # numpy counts bytes in 63 bits, also beside an axis of size 0
_MAX_SHARDS = 100_000  # five digits in a data file's name

_NUMBER_OF = {name: number for number, name in DTYPE_NAMES.items()}

OPAQUE = frozenset({"resource", "variant"})
"""Dtypes whose bytes only TensorFlow can interpret; they are handed on as they are."""


@dataclass(frozen=True)
class Entry:
    """Position, shape and dtype of one stored tensor.

    Args:
        dtype: TensorFlow's name of the dtype.
        shape: Its dimensions.
        shard: Number of the data file.
        offset: First byte in it.
        size: Bytes.
        crc: Masked CRC-32C of the bytes.
        slices: For a partitioned variable, the extents of each part; it has no bytes of its own.
    """

    dtype: str
    shape: tuple[int, ...]
    shard: int = 0
    offset: int = 0
    size: int = 0
    crc: int = 0
    slices: tuple[tuple[Extent, ...], ...] = ()


@dataclass(frozen=True)
class Header:
    """The entry with the empty key, which describes the whole bundle."""

    num_shards: int


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the numpy dtype that holds a TensorFlow dtype's values.

    Raises:
        CheckpointError: If there is none.
    """
    if name not in NUMPY_DTYPES:
        msg = f"Tensors of dtype {name} have no numpy form."
        raise CheckpointError(msg, dtype=name)
    return NUMPY_DTYPES[name]


def tf_dtype(dtype: np.dtype[Any]) -> str:
    """Return TensorFlow's name of a numpy dtype.

    Raises:
        CheckpointError: If TensorFlow has no such dtype.
    """
    name = "string" if dtype.kind in "OSU" else dtype.name
    if name not in _NUMBER_OF:
        msg = f"A checkpoint cannot hold values of numpy dtype {dtype}."
        raise CheckpointError(msg, dtype=str(dtype))
    return name


def parse_header(data: bytes) -> Header:
    """Return what a `BundleHeaderProto` holds.

    Raises:
        CheckpointError: If the bundle is of a big-endian machine or its shards cannot be named.
    """
    fields = {field: value for field, value in wire.read_fields(data) if isinstance(value, int)}
    num_shards, endianness = fields.get(1, 0), fields.get(2, 0)
    if endianness or not 0 < num_shards <= _MAX_SHARDS:
        msg = f"its header claims {num_shards} data files and byte order {endianness}"
        raise CheckpointError(msg, num_shards=num_shards, endianness=endianness)
    return Header(num_shards)


def format_header() -> bytes:
    """Return the header of a bundle of one little-endian shard, format version 1."""
    return wire.write_number(1, 1) + wire.write_bytes(3, wire.write_number(1, 1))


def parse_entry(data: bytes) -> Entry:
    """Return what a `BundleEntryProto` holds.

    Raises:
        CheckpointError: If the message is damaged, its dtype unknown, or its size not what shape
            and dtype need.
    """
    numbers: dict[int, int] = {}
    shape: tuple[int, ...] = ()
    slices: list[tuple[Extent, ...]] = []
    for field, value in wire.read_fields(data):
        if isinstance(value, int):
            numbers[field] = wire.to_signed(value)
        elif field == 2:  # noqa: PLR2004 - field numbers of the message
            shape = _parse_shape(value)
        elif field == 7:  # noqa: PLR2004
            slices.append(_parse_slice(value))
    dtype = DTYPE_NAMES.get(numbers.get(1, 0))
    if dtype is None:
        msg = f"it is of dtype number {numbers.get(1, 0)}, which is unknown here"
        raise CheckpointError(msg, dtype=numbers.get(1, 0))
    entry = Entry(
        dtype,
        shape,
        shard=numbers.get(3, 0),
        offset=numbers.get(4, 0),
        size=numbers.get(5, 0),
        crc=numbers.get(6, 0),
        slices=tuple(slices),
    )
    _check_entry(entry)
    return entry


def format_entry(entry: Entry) -> bytes:
    """Return the `BundleEntryProto` of a whole tensor."""
    shape = b"".join(wire.write_bytes(2, wire.write_number(1, size)) for size in entry.shape)
    return b"".join(
        (
            wire.write_number(1, _NUMBER_OF[entry.dtype]),
            wire.write_bytes(2, shape),
            wire.write_number(3, entry.shard),
            wire.write_number(4, entry.offset),
            wire.write_number(5, entry.size),
            wire.write_fixed32(6, entry.crc),
        )
    )


def slice_key(name: str, extents: tuple[Extent, ...]) -> bytes:
    """Return the key that one part of a partitioned variable is stored under.

    Args:
        name: The variable's name.
        extents: Start and length of the part along each axis.

    Examples:
        >>> slice_key("w", ((0, 2), (0, -1))).hex()  # 0, "w" and its end, 2 axes, 0, 2, 0, -1
        '0077000101028082807f'
    """
    escaped = name.encode().replace(b"\xff", b"\xff\0").replace(b"\0", b"\0\xff")
    key = b"\0" + escaped + b"\0\x01" + _ordered(len(extents))
    for start, length in extents:
        key += _ordered_signed(start) + _ordered_signed(length)
    return key


def is_slice_key(key: bytes) -> bool:
    """Return whether a key is that of a part; no variable's name starts with a zero byte."""
    return key.startswith(b"\0")


def _check_entry(entry: Entry) -> None:
    if min((*entry.shape, entry.offset, entry.size, entry.shard)) < 0:
        msg = f"its shape {entry.shape}, place {entry.offset} or size {entry.size} is negative"
        raise CheckpointError(msg, shape=entry.shape, offset=entry.offset, size=entry.size)
    if any(len(extents) != len(entry.shape) for extents in entry.slices):
        msg = f"its parts have another number of axes than its shape {entry.shape}"
        raise CheckpointError(msg, shape=entry.shape)
    if len(set(entry.slices)) < len(entry.slices):
        msg = "one of its parts is listed twice"
        raise CheckpointError(msg, shape=entry.shape)
    if math.prod(max(size, 1) for size in entry.shape) >= _MAX_VALUES:
        msg = f"its shape {entry.shape} is too large for any machine"
        raise CheckpointError(msg, shape=entry.shape)
    values = math.prod(entry.shape)
    if entry.slices or entry.dtype in OPAQUE:
        return
    if entry.dtype == "string":
        is_wrong, expected = entry.size < values, values
    else:
        expected = values * NUMPY_DTYPES[entry.dtype].itemsize
        is_wrong = entry.size != expected
    if is_wrong:
        msg = f"it has {entry.size} bytes, {entry.dtype} of shape {entry.shape} needs {expected}"
        raise CheckpointError(msg, found=entry.size, expected=expected)


def _parse_shape(data: bytes) -> tuple[int, ...]:
    sizes = []
    for field, value in wire.read_fields(data):
        if field == 2 and isinstance(value, bytes):  # noqa: PLR2004 - TensorShapeProto.dim
            size = next((v for f, v in wire.read_fields(value) if f == 1), 0)
            sizes.append(wire.to_signed(size) if isinstance(size, int) else -1)
    return tuple(sizes)


def _parse_slice(data: bytes) -> tuple[Extent, ...]:
    extents = []
    for field, value in wire.read_fields(data):
        if field == 1 and isinstance(value, bytes):
            numbers = {f: v for f, v in wire.read_fields(value) if isinstance(v, int)}
            start, length = numbers.get(1, 0), numbers.get(2)
            extents.append(
                (wire.to_signed(start), FULL if length is None else wire.to_signed(length))
            )
    return tuple(extents)


def _ordered(value: int) -> bytes:
    digits = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(digits)]) + digits


def _ordered_signed(value: int) -> bytes:
    magnitude = ~value if value < 0 else value
    length = 1 + magnitude.bit_length() // 7
    header = ((1 << length) - 1) << (7 * length)  # as many leading ones as there are bytes
    pattern = value & ((1 << (8 * length)) - 1)
    return (pattern ^ header).to_bytes(length, "big")
