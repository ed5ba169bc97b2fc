"""CRC-32C as TensorFlow stores it, and how checksums of adjoining blocks combine. Opens no file."""

from __future__ import annotations

from functools import lru_cache

from crc32c import crc32c

_MASK_DELTA = 0xA282EAD8
_POLYNOMIAL = 0x82F63B78  # Castagnoli, bit-reversed
_WORD = 0xFFFF_FFFF

__all__ = ["combine", "crc32c", "mask", "unmask"]


def mask(crc: int) -> int:
    """Return a checksum rotated and shifted, as files store it.

    A checksum of data that holds a checksum would else be weak.

    Source: LevelDB's `util/crc32c.h`: rotate right by 15 bits, add 0xa282ead8.

    Examples:
        >>> hex(mask(0))
        '0xa282ead8'
    """
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & _WORD


def unmask(masked: int) -> int:
    """Return what `mask` was given.

    Examples:
        >>> unmask(mask(12345))
        12345
    """
    rotated = (masked - _MASK_DELTA) & _WORD
    return (rotated >> 17 | rotated << 15) & _WORD


def combine(first: int, second: int, second_length: int) -> int:
    """Return the checksum of two adjoining blocks from theirs, so that threads may split the work.

    A CRC is linear over GF(2): appending n zero bytes is a 32 x 32 bit matrix applied to the first
    checksum, and the second's is added to that (Mark Adler's `crc32_combine` in zlib).

    Args:
        first: Checksum of the first block.
        second: Checksum of the second.
        second_length: Bytes of the second.

    Returns:
        The checksum of the concatenation.

    Examples:
        >>> combine(crc32c(b"tensor"), crc32c(b"flow"), 4) == crc32c(b"tensorflow")
        True
    """
    return _apply(_append_zeros(second_length), first) ^ second


def _apply(matrix: tuple[int, ...], vector: int) -> int:
    result = 0
    for column in matrix:
        if not vector:
            break
        if vector & 1:
            result ^= column
        vector >>= 1
    return result


def _square(matrix: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(_apply(matrix, column) for column in matrix)


@lru_cache(maxsize=64)
def _power_of_two_zeros(exponent: int) -> tuple[int, ...]:
    """Return the matrix that appends 2**exponent zero bytes."""
    if exponent:
        return _square(_power_of_two_zeros(exponent - 1))
    matrix = (_POLYNOMIAL, *(1 << bit for bit in range(31)))
    for _ in range(3):  # one bit -> eight bits
        matrix = _square(matrix)
    return matrix


@lru_cache(maxsize=256)
def _append_zeros(length: int) -> tuple[int, ...]:
    matrix = tuple(1 << bit for bit in range(32))
    for exponent in range(length.bit_length()):
        if length >> exponent & 1:
            matrix = tuple(_apply(_power_of_two_zeros(exponent), column) for column in matrix)
    return matrix
