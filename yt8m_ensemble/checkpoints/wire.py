"""Protocol-buffer wire format, as much of it as checkpoints use. Knows no message type.

Source: the encoding page of protobuf.dev. Every length is checked against what is there, so that a
damaged message ends in `CheckpointError` and never in a large allocation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yt8m_ensemble.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

_MAX_SHIFT = 63
_SIGN_BIT = 1 << 63


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Read an unsigned base-128 number.

    Args:
        data: The buffer.
        position: Where the number starts.

    Returns:
        The number and the position behind it.

    Raises:
        CheckpointError: If the number runs past the buffer or past 64 bits.

    Examples:
        >>> read_varint(bytes([0x96, 0x01]), 0)  # 0x16 + (1 << 7)
        (150, 2)
    """
    value = shift = 0
    while position < len(data) and shift <= _MAX_SHIFT:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
    msg = f"A variable-length number at byte {position} does not end."
    raise CheckpointError(msg, position=position)


def write_varint(value: int) -> bytes:
    """Return the base-128 form of an unsigned number, or of an int64's two's complement.

    Examples:
        >>> write_varint(150).hex()
        '9601'
    """
    value &= 0xFFFF_FFFF_FFFF_FFFF
    parts = bytearray()
    while value >= 0x80:  # noqa: PLR2004 - the continuation bit
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def to_signed(value: int) -> int:
    """Return a 64-bit pattern read as int64.

    Examples:
        >>> to_signed(2**64 - 1)
        -1
    """
    return value - (_SIGN_BIT << 1) if value & _SIGN_BIT else value


def read_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Walk over a message.

    Args:
        data: A serialized message.

    Yields:
        Field number and value: an unsigned number, or the bytes of a length-delimited field.

    Raises:
        CheckpointError: If a field runs past the message or has a wire type of no meaning.
    """
    position = 0
    while position < len(data):
        tag, position = read_varint(data, position)
        field, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, position = read_varint(data, position)
            yield field, value
            continue
        if kind == BYTES:
            length, position = read_varint(data, position)
        elif kind in {FIXED32, FIXED64}:
            length = 4 if kind == FIXED32 else 8
        else:
            msg = f"A message holds wire type {kind} at byte {position}."
            raise CheckpointError(msg, position=position)
        if length > len(data) - position:
            msg = f"A field of {length} bytes stands where {len(data) - position} are left."
            raise CheckpointError(msg, found=len(data) - position, expected=length)
        chunk = data[position : position + length]
        position += length
        yield field, chunk if kind == BYTES else int.from_bytes(chunk, "little")


def write_number(field: int, value: int) -> bytes:
    """Return a number field; zero is the default and takes no bytes."""
    return write_varint(field << 3 | VARINT) + write_varint(value) if value else b""


def write_fixed32(field: int, value: int) -> bytes:
    """Return a fixed32 field; zero is the default and takes no bytes."""
    return write_varint(field << 3 | FIXED32) + value.to_bytes(4, "little") if value else b""


def write_bytes(field: int, value: bytes) -> bytes:
    """Return a length-delimited field, also when it is empty."""
    return write_varint(field << 3 | BYTES) + write_varint(len(value)) + value
