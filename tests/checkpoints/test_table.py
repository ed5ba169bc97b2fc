"""The index table: round trips, and blocks that lie under valid checksums."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yt8m_ensemble.checkpoints.checksums import combine, crc32c, mask, unmask
from yt8m_ensemble.checkpoints.table import format_table, read_table
from yt8m_ensemble.checkpoints.wire import read_varint, to_signed, write_varint
from yt8m_ensemble.errors import CheckpointError

MAGIC = bytes.fromhex("57fb808b247547db")


@settings(deadline=None)
@given(st.dictionaries(st.binary(max_size=12), st.binary(max_size=300), max_size=60))
def test_round_trip(entries):
    rows = sorted(entries.items())
    assert list(read_table(format_table(rows))) == rows


def test_bytes_of_a_table_by_hand():
    # One block: shared 0, unshared 1, value of 2 bytes; one restart point at 0.
    block = bytes([0, 1, 2]) + b"a" + b"xy" + bytes(4) + bytes([1, 0, 0, 0])
    table = format_table([(b"a", b"xy")])
    assert table[: len(block)] == block
    crc = mask(crc32c(block + b"\0"))
    assert table[len(block) : len(block) + 5] == b"\0" + crc.to_bytes(4, "little")
    assert table.endswith(MAGIC)


def table_of(block, kind=0):
    """Return a table whose only data block is `block`, all checksums right."""

    def sealed(content, compression=0):
        typed = content + bytes([compression])
        return typed + mask(crc32c(typed)).to_bytes(4, "little")

    empty = bytes(4) + bytes([1, 0, 0, 0])
    handle = write_varint(0) + write_varint(len(block))
    index = bytes([0, 1, len(handle)]) + b"z" + handle + empty
    content = sealed(block, kind)
    footer = write_varint(len(content)) + write_varint(len(empty))
    content += sealed(empty)
    footer += write_varint(len(content)) + write_varint(len(index))
    content += sealed(index)
    return content + footer.ljust(40, b"\0") + MAGIC


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (table_of(b"", 1), "its blocks are compressed"),
        (table_of(b"abc"), "a block of 3 bytes claims"),
        (table_of(bytes([9, 0, 0, 0])), "a block of 4 bytes claims 9 restart points"),
        (table_of(bytes([0, 9, 0]) + b"a" + bytes(4) + bytes([1, 0, 0, 0])), "runs past its end"),
        (table_of(bytes([3, 1, 0]) + b"a" + bytes(4) + bytes([1, 0, 0, 0])), "runs past its end"),
        (bytes(39) + b"\x7f" + MAGIC, "checksum"),
        (b"\xff" * 8 + bytes(32) + MAGIC, "a block should end at byte"),
    ],
)
def test_blocks_that_lie(table, words):
    with pytest.raises(CheckpointError, match=words):
        list(read_table(table))


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_checksums_of_adjoining_blocks_combine(first, second):
    assert combine(crc32c(first), crc32c(second), len(second)) == crc32c(first + second)
    assert unmask(mask(crc32c(first))) == crc32c(first)


@given(st.integers(-(2**63), 2**63 - 1))
def test_varints_round_trip(number):
    encoded = write_varint(number)
    value, end = read_varint(encoded, 0)
    assert (to_signed(value), end) == (number, len(encoded))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 11])
def test_varints_that_do_not_end(data):
    with pytest.raises(CheckpointError, match="does not end"):
        read_varint(data, 0)
