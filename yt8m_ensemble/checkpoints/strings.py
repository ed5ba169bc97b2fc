"""How a bundle stores tensors of strings and variants. Opens no file.

A string tensor is

    varint64 length of each element | masked CRC-32C of the lengths | the elements' bytes

The checksum runs over each length as a little-endian uint32 (uint64 past 4 GB), not over the
varints; the entry's own checksum continues it over the four checksum bytes and the elements.
Source: `WriteStringTensor` in TensorFlow's `core/util/tensor_bundle/tensor_bundle.cc`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble.checkpoints.checksums import crc32c, mask
from yt8m_ensemble.checkpoints.wire import read_varint, write_varint
from yt8m_ensemble.errors import CheckpointError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CRC_BYTES = 4
_UINT32_MAX = 0xFFFF_FFFF


def parse_strings(data: bytes, shape: tuple[int, ...], crc: int | None) -> NDArray[np.object_]:
    """Parse a string tensor.

    Args:
        data: The entry's bytes.
        shape: The tensor's shape.
        crc: The entry's masked checksum; `None` skips the comparison.

    Returns:
        An object array of `bytes`.

    Raises:
        CheckpointError: If lengths and bytes do not fit together, or a checksum differs.
    """
    array = np.empty(shape, object)
    lengths, position = [], 0
    for _ in range(array.size):
        length, position = read_varint(data, position)
        lengths.append(length)
    start = position + _CRC_BYTES
    if start + sum(lengths) != len(data):
        msg = f"its strings need {start + sum(lengths)} bytes, {len(data)} are stored"
        raise CheckpointError(msg, found=len(data), expected=start + sum(lengths))
    stored, running = data[position:start], _crc_of_lengths(lengths)
    computed = mask(crc32c(data[position:], running))
    if crc is not None and (stored != _crc_bytes(running) or computed != crc):
        msg = f"its checksum is {computed:08x}, stored is {crc:08x}"
        raise CheckpointError(msg, found=f"{computed:08x}", expected=f"{crc:08x}")
    elements = []
    for length in lengths:
        elements.append(data[start : start + length])
        start += length
    array.reshape(-1)[:] = elements
    return array


def format_strings(array: NDArray[Any]) -> tuple[bytes, int]:
    """Format a string tensor.

    Args:
        array: Any shape, of `bytes` or `str`.

    Returns:
        The bytes to store and their masked checksum.
    """
    elements = [item.encode() if isinstance(item, str) else bytes(item) for item in array.flat]
    lengths = [len(element) for element in elements]
    running = _crc_of_lengths(lengths)
    content = _crc_bytes(running) + b"".join(elements)
    return b"".join(map(write_varint, lengths)) + content, mask(crc32c(content, running))


def variant_checksum(data: bytes, count: int) -> int:
    """Return the masked checksum of a variant tensor's bytes, which nobody here interprets.

    Each element is its varint64 length, its bytes, and the masked checksum so far; the checksum
    runs over each length as a uint64. Source: `WriteVariantTensor` in the same file.

    Args:
        data: The entry's bytes.
        count: Number of elements.

    Returns:
        What the entry's checksum should be.
    """
    running = position = 0
    for _ in range(count):
        length, start = read_varint(data, position)
        position = start + length + _CRC_BYTES
        running = crc32c(length.to_bytes(8, "little"), running)
        running = crc32c(data[start : start + length], running)
        running = crc32c(_crc_bytes(running), running)
    return mask(running)


def _crc_of_lengths(lengths: list[int]) -> int:
    running = 0
    for length in lengths:
        width = 4 if length <= _UINT32_MAX else 8
        running = crc32c(length.to_bytes(width, "little"), running)
    return running


def _crc_bytes(running: int) -> bytes:
    return mask(running).to_bytes(_CRC_BYTES, "little")
