"""The sorted table of a `.index` file: LevelDB's format, as in TensorFlow's `lib/io/table`.

    [data block]… [meta-index block] [index block] [footer of 48 bytes]

A block is prefix-compressed entries, the offsets of its restart points, their count, and behind it
a compression byte and a masked CRC-32C. Knows nothing of tensors.

Source: LevelDB's `doc/table_format.md`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from yt8m_ensemble.checkpoints.checksums import crc32c, mask
from yt8m_ensemble.checkpoints.wire import read_varint, write_varint
from yt8m_ensemble.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
_FOOTER_BYTES = 48
_TRAILER_BYTES = 5
_BLOCK_BYTES = 262_144  # TensorFlow's, not LevelDB's 4 kB: where a new block begins
_RESTART_INTERVAL = 16
_MAX_BYTE = 0xFF


def read_table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Walk over a table's entries in the order of their keys.

    Args:
        data: The whole file.

    Yields:
        Key and value.

    Raises:
        CheckpointError: If the file is no table, a block fails its CRC or is compressed, or keys do
            not rise.
    """
    if len(data) < _FOOTER_BYTES or data[-8:] != MAGIC:
        msg = f"its last 8 of {len(data)} bytes are not the mark that ends an index"
        raise CheckpointError(msg, found=data[-8:].hex(), expected=MAGIC.hex())
    footer = data[-_FOOTER_BYTES:]
    meta_index, position = _read_handle(footer, 0)
    handle, _ = _read_handle(footer, position)
    last: bytes | None = None
    deque(_read_block(data, meta_index), maxlen=0)  # holds nothing, but damage is damage
    for _, value in _read_block(data, handle):
        for key, content in _read_block(data, _read_handle(value, 0)[0]):
            if last is not None and key <= last:
                what = "occurs twice" if key == last else "is out of order"
                msg = f"the name {key!r} {what}"
                raise CheckpointError(msg, name=key.decode(errors="replace"))
            last = key
            yield key, content


def format_table(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Format a table, byte for byte as TensorFlow's `TableBuilder` does without compression.

    Args:
        entries: Keys and values, keys strictly rising.

    Returns:
        The content of a `.index` file.
    """
    file, block, index = bytearray(), _BlockBuilder(_RESTART_INTERVAL), _BlockBuilder(1)
    handle: bytes | None = None
    last = b""
    for key, value in entries:
        if handle is not None:
            index.add(_shortest_separator(last, key), handle)
            handle = None
        block.add(key, value)
        last = key
        if block.size_bytes >= _BLOCK_BYTES:
            handle = _append_block(file, block.finish())
            block = _BlockBuilder(_RESTART_INTERVAL)
    if block.is_filled:
        handle = _append_block(file, block.finish())
    meta_index = _append_block(file, _BlockBuilder(_RESTART_INTERVAL).finish())
    if handle is not None:
        index.add(_short_successor(last), handle)
    footer = meta_index + _append_block(file, index.finish())
    file += footer.ljust(_FOOTER_BYTES - len(MAGIC), b"\0") + MAGIC
    return bytes(file)


class _BlockBuilder:
    """Collect entries, storing of each key only what differs from the one before."""

    def __init__(self, restart_interval: int) -> None:
        self._interval = restart_interval
        self._content = bytearray()
        self._restarts = [0]
        self._since_restart = 0
        self._last = b""

    @property
    def size_bytes(self) -> int:
        return len(self._content) + 4 * len(self._restarts) + 4

    @property
    def is_filled(self) -> bool:
        return bool(self._content)

    def add(self, key: bytes, value: bytes) -> None:
        shared = 0
        if self._since_restart < self._interval:
            limit = min(len(key), len(self._last))
            while shared < limit and key[shared] == self._last[shared]:
                shared += 1
        else:
            self._restarts.append(len(self._content))
            self._since_restart = 0
        self._content += write_varint(shared) + write_varint(len(key) - shared)
        self._content += write_varint(len(value)) + key[shared:] + value
        self._last = key
        self._since_restart += 1

    def finish(self) -> bytes:
        numbers = [*self._restarts, len(self._restarts)]
        return bytes(self._content) + b"".join(n.to_bytes(4, "little") for n in numbers)


def _append_block(file: bytearray, content: bytes) -> bytes:
    handle = write_varint(len(file)) + write_varint(len(content))
    typed = content + b"\0"  # not compressed
    file += typed + mask(crc32c(typed)).to_bytes(4, "little")
    return handle


def _read_handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    offset, position = read_varint(data, position)
    size, position = read_varint(data, position)
    return (offset, size), position


def _read_block(data: bytes, handle: tuple[int, int]) -> Iterator[tuple[bytes, bytes]]:
    offset, size = handle
    end = offset + size
    if end + _TRAILER_BYTES > len(data):
        msg = f"a block should end at byte {end + _TRAILER_BYTES} of {len(data)}"
        raise CheckpointError(msg, found=len(data), expected=end + _TRAILER_BYTES)
    stored = int.from_bytes(data[end + 1 : end + _TRAILER_BYTES], "little")
    computed = mask(crc32c(data[offset : end + 1]))
    if stored != computed:
        msg = f"the block at byte {offset} has checksum {computed:08x}, stored is {stored:08x}"
        raise CheckpointError(msg, found=f"{computed:08x}", expected=f"{stored:08x}")
    if data[end]:
        msg = f"its blocks are compressed (kind {data[end]}), which no TensorFlow release writes"
        raise CheckpointError(msg, compression=data[end])
    block = data[offset:end]
    restarts = int.from_bytes(block[-4:], "little")
    limit = size - 4 * (restarts + 1)
    if size < 4 or limit < 0:  # noqa: PLR2004 - the count of restart points
        msg = f"a block of {size} bytes claims {restarts} restart points"
        raise CheckpointError(msg, found=size, expected=4 * (restarts + 1))
    yield from _read_entries(block[:limit])


def _read_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    position, key = 0, b""
    while position < len(block):
        shared, position = read_varint(block, position)
        unshared, position = read_varint(block, position)
        length, position = read_varint(block, position)
        if shared > len(key) or unshared + length > len(block) - position:
            msg = f"an entry at byte {position} of a block runs past its end"
            raise CheckpointError(msg, position=position)
        key = key[:shared] + block[position : position + unshared]
        position += unshared
        yield key, block[position : position + length]
        position += length


def _shortest_separator(first: bytes, second: bytes) -> bytes:
    """Return a short key k with first <= k < second, as LevelDB's bytewise comparator does."""
    shared = 0
    while shared < min(len(first), len(second)) and first[shared] == second[shared]:
        shared += 1
    if shared < min(len(first), len(second)):
        byte = first[shared]
        if byte < _MAX_BYTE and byte + 1 < second[shared]:
            return first[:shared] + bytes([byte + 1])
    return first


def _short_successor(key: bytes) -> bytes:
    """Return a short key not below `key`."""
    for position, byte in enumerate(key):
        if byte != _MAX_BYTE:
            return key[:position] + bytes([byte + 1])
    return key
