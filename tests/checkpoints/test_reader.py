"""What the reader refuses, and in which words."""

from pathlib import Path

import numpy as np
import pytest

from yt8m_ensemble.checkpoints import UnmappedTensors, open_checkpoint, write_checkpoint
from yt8m_ensemble.checkpoints.entries import Entry, format_entry, format_header, slice_key
from yt8m_ensemble.checkpoints.table import format_table
from yt8m_ensemble.checkpoints.wire import write_bytes, write_number
from yt8m_ensemble.errors import CheckpointError, CheckpointNotFoundError
from yt8m_ensemble.values import TensorSource, TensorSpec

DATA = ".data-00000-of-00001"


@pytest.fixture
def prefix(tmp_path):
    prefix = str(tmp_path / "model.ckpt-7")
    arrays = {
        "global_step": np.array(7, np.int64),
        "name": np.array([b"ab", b"c"], object),
        "w": np.arange(6, dtype=np.float32).reshape(2, 3),
    }
    write_checkpoint(prefix, arrays)
    return prefix


def change(path, position, value=None):
    content = bytearray(Path(path).read_bytes())
    content[position] = content[position] ^ 1 if value is None else value
    Path(path).write_bytes(content)


def test_is_a_tensor_source_with_sorted_specs(prefix):
    source: TensorSource = open_checkpoint(f"{prefix}.index")
    assert list(source.specs()) == ["global_step", "name", "w"]
    assert source.specs()["w"] == TensorSpec("w", (2, 3), "float32")
    assert source.specs()["name"].dtype == "string"


def test_reads_a_memory_map_that_outlives_the_checkpoint(prefix):
    with open_checkpoint(prefix) as source:
        values = source.read("w")
    assert not values.flags.writeable
    assert not values.flags.owndata
    assert values.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_unmapped_tensors_are_arrays_of_their_own(prefix):
    with open_checkpoint(prefix) as checkpoint:
        source: TensorSource = UnmappedTensors(checkpoint)
        assert source.specs() == checkpoint.specs()
        values = source.read("w")
        assert values.flags.writeable
        assert values.tolist() == [[0, 1, 2], [3, 4, 5]]
        assert source.read("global_step").shape == ()
        assert source.read("name").tolist() == [b"ab", b"c"]
    change(prefix + DATA, -3)
    with open_checkpoint(prefix) as checkpoint, pytest.raises(CheckpointError, match="'w'"):
        UnmappedTensors(checkpoint).read("w")


def test_describes_itself_without_arrays(prefix):
    checkpoint = open_checkpoint(prefix).checkpoint
    assert (checkpoint.prefix, checkpoint.global_step, checkpoint.nbytes) == (prefix, 7, 32)


def test_a_checkpoint_without_a_step_has_none(tmp_path):
    write_checkpoint(str(tmp_path / "a"), {"w": np.ones(1)})
    assert open_checkpoint(str(tmp_path / "a")).global_step is None


def test_blocks_are_checked_once_all_are_read(prefix):
    change(prefix + DATA, -1)
    with open_checkpoint(prefix) as source:
        source.read_block("w", 0, np.empty(2, np.float32))
        source.read_block("w", 4, np.empty(2, np.float32))
        with pytest.raises(CheckpointError, match=r"'w' in .* is damaged: its checksum is"):
            source.read_block("w", 2, np.empty(2, np.float32))
    with open_checkpoint(prefix, verify=False) as source:
        block = np.empty(6, np.float32)
        source.read_block("w", 0, block)
    assert block[:5].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("start", "size"), [(-1, 1), (6, 1), (3, 4)])
def test_blocks_do_not_reach_into_the_next_tensor(prefix, start, size):
    with open_checkpoint(prefix) as source, pytest.raises(IndexError, match=f"no {size} values"):
        source.read_block("w", start, np.empty(size, np.float32))


def test_overlapping_blocks_are_no_damage(prefix):
    with open_checkpoint(prefix) as source:
        for start in (0, 1, 2):
            source.read_block("w", start, np.empty(4, np.float32))


@pytest.mark.usefixtures("prefix")
def test_absent_prefix_lists_what_is_there(tmp_path):
    with pytest.raises(CheckpointNotFoundError, match=r"The directory holds model.ckpt-7\.") as e:
        open_checkpoint(str(tmp_path / "model.ckpt-8"))
    assert e.value.found == ["model.ckpt-7"]
    with pytest.raises(FileNotFoundError, match="holds no other checkpoint"):
        open_checkpoint(str(tmp_path / "nowhere" / "x"))


def test_missing_data_file_is_named(prefix):
    Path(prefix + DATA).unlink()
    with pytest.raises(CheckpointNotFoundError, match="unfinished: its data file") as e:
        open_checkpoint(prefix)
    assert e.value.path == prefix + DATA
    assert e.value.expected == 8 + 2 + 4 + 3 + 24


def test_short_data_file_tells_both_sizes(prefix):
    content = Path(prefix + DATA).read_bytes()
    Path(prefix + DATA).write_bytes(content[:-5])
    with pytest.raises(CheckpointError, match="has 36 bytes, its index expects 41") as e:
        open_checkpoint(prefix)
    assert (e.value.found, e.value.expected) == (36, 41)


def test_data_cut_short_after_opening_is_an_error(prefix):
    with open_checkpoint(prefix) as source:
        content = Path(prefix + DATA).read_bytes()
        Path(prefix + DATA).write_bytes(content[:-5])
        with pytest.raises(CheckpointError, match="ends at byte 36, 41 were there") as e:
            source.read_block("w", 0, np.empty(6, np.float32))
    assert e.value.expected == 41


@pytest.mark.parametrize("position", [3, -1, 12])
def test_a_flipped_bit_in_the_data_is_found(prefix, position):
    change(prefix + DATA, position)
    with open_checkpoint(prefix) as source:
        with pytest.raises(CheckpointError, match="is damaged") as e:
            list(map(source.read, source.specs()))
        assert e.value.path == prefix + DATA
        assert e.value.name in source.specs()


def test_without_verify_a_flipped_bit_passes(prefix):
    change(prefix + DATA, -1)
    with open_checkpoint(prefix, verify=False) as source:
        assert source.read("w")[0, 0] == 0


def test_every_flipped_bit_in_the_index_is_found(prefix):
    index = Path(prefix + ".index").read_bytes()
    footer = len(index) - 48
    for position in range(len(index)):
        if footer <= position < len(index) - 8 and not index[position]:
            continue  # padding of the footer
        change(prefix + ".index", position)
        with pytest.raises(CheckpointError) as error:
            open_checkpoint(prefix)
        assert prefix in str(error.value)
        Path(prefix + ".index").write_bytes(index)


def test_an_index_that_is_none(prefix):
    Path(prefix + ".index").write_bytes(b"not a table")
    with pytest.raises(CheckpointError, match="is damaged: its last 8 of 11 bytes") as e:
        open_checkpoint(prefix)
    assert e.value.path == prefix + ".index"


def write_index(prefix, rows):
    Path(prefix + ".index").write_bytes(format_table(rows))


def entry(**changes):
    return format_entry(Entry(**{"dtype": "float32", "shape": (2,), "size": 8, **changes}))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(b"w", entry())], "has no header"),
        ([(b"", format_header()), (b"w", entry()), (b"w", entry())], "occurs twice"),
        ([(b"", format_header()), (b"w", entry()), (b"a", entry())], "out of order"),
        ([(b"", format_header()), (b"w", entry(size=7))], "it has 7 bytes, float32 of shape"),
        ([(b"", format_header()), (b"w", entry(shape=(-1, -2)))], "is negative"),
        ([(b"", format_header()), (b"w", entry(shard=3))], "names data file 3 of 1"),
        ([(b"", format_header()), (b"w", b"\x08\x7f")], "dtype number 127"),
        ([(b"", format_header()), (b"w", b"\x0f")], "wire type 7"),
        ([(b"", format_header()), (b"w", b"\x12\x7f")], "A field of 127 bytes"),
        ([(b"", format_header()), (b"\xff", entry())], "can't decode"),
        ([(b"", b"\x08\x01\x10\x01")], "byte order 1"),
        ([(b"", b"\x08\x00")], "claims 0 data files"),
    ],
)
def test_an_index_that_says_impossible_things(prefix, rows, words):
    write_index(prefix, rows)
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(prefix)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([((0, 1), "absent")], r"its part at \[\(0, 1\)\] is absent or unlike"),
        ([((0, 1), (3,))], "is absent or unlike"),
        ([((0, 1), (1,))], r"its 1 parts do not cover \(2,\)"),
        ([((0, 1), (1,)), ((0, 1), (1,))], "listed twice"),
        ([((0, 1), (1,)), ((1, 1), (1,), (0, 1))], "another number of axes"),
    ],
)
def test_partitioned_variables_that_do_not_fit_together(prefix, parts, words):
    whole = write_number(1, 1) + write_bytes(2, write_bytes(2, write_number(1, 2)))
    rows = {b"": format_header()}
    for extent, shape, *more in parts:
        messages = [
            write_bytes(1, write_number(1, start) + write_number(2, length))
            for start, length in (extent, *more)
        ]
        whole += write_bytes(7, b"".join(messages))
        if shape != "absent":
            rows[slice_key("w", (extent,))] = entry(shape=shape, size=4 * shape[0])
    rows[b"w"] = whole
    write_index(prefix, sorted(rows.items()))

    def read():
        with open_checkpoint(prefix) as source:
            source.read("w")

    with pytest.raises(CheckpointError, match=words):
        read()


def test_an_unknown_name_is_a_key_error(prefix):
    with open_checkpoint(prefix) as source, pytest.raises(KeyError):
        source.read("v")
