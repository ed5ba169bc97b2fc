"""Damaged files end in our own errors: never in a crash, never in a large allocation."""

import contextlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yt8m_ensemble.checkpoints import open_checkpoint, write_checkpoint
from yt8m_ensemble.checkpoints.entries import Entry, format_entry, format_header, slice_key
from yt8m_ensemble.checkpoints.table import format_table, read_table
from yt8m_ensemble.checkpoints.wire import write_bytes, write_number
from yt8m_ensemble.errors import CheckpointError

DATA = ".data-00000-of-00001"
FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def prefix(tmp_path):
    prefix = str(tmp_path / "c")
    arrays = {
        "names": np.array([b"ab", b"", b"c" * 40], object),
        "step": np.array(3),
        "w": np.arange(600, dtype=np.float32).reshape(20, 30),
    }
    write_checkpoint(prefix, arrays)
    parts = [Entry("float32", (2,), offset=8, size=8), Entry("float32", (1,), offset=16, size=4)]
    whole = write_number(1, 1) + write_bytes(2, write_bytes(2, write_number(1, 3)))
    extents = [((0, 2),), ((2, 1),)]
    for ((start, length),) in extents:
        numbers = write_number(1, start) + write_number(2, length)
        whole += write_bytes(7, write_bytes(1, numbers))
    rows = dict(read_table(Path(f"{prefix}.index").read_bytes()))
    rows[b"parted"] = whole
    for extent, part in zip(extents, parts, strict=True):
        rows[slice_key("parted", extent)] = format_entry(part)
    Path(f"{prefix}.index").write_bytes(format_table(sorted(rows.items())))
    for verify in (False, True):
        with contextlib.suppress(CheckpointError):  # the parts hold no checksums
            read_tensors(prefix, verify=verify)  # what a first read imports is not measured below
    return prefix


def mutate(content, edits):
    """Apply flips, cuts and insertions."""
    changed = bytearray(content)
    for kind, place, value in edits:
        position = place % (len(changed) + 1)
        if kind == "flip" and position < len(changed):
            changed[position] ^= value or 1
        elif kind == "cut":
            del changed[position : position + value]
        elif kind == "insert":
            changed[position:position] = bytes([value]) * (value % 7 + 1)
    return bytes(changed)


edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert"]), st.integers(0, 10**6), st.integers(0, 255)
    ),
    min_size=1,
    max_size=6,
)


def read_tensors(prefix, *, verify):
    with open_checkpoint(prefix, verify=verify) as source:
        for name, spec in source.specs().items():
            source.read(name)
            if spec.dtype == "float32" and spec.size:
                source.read_block(name, 0, np.empty(min(spec.size, 100), np.float32))


def read_all(prefix, *, verify):
    """Read everything; return whether it was refused, in bounded memory."""
    tracemalloc.start()
    try:
        read_tensors(prefix, verify=verify)
    except CheckpointError:
        return True
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2_000_000
    return False


def test_the_files_are_whole_to_begin_with(prefix):
    assert not read_all(prefix, verify=False)
    assert list(open_checkpoint(prefix).specs()) == ["names", "parted", "step", "w"]


@FUZZ
@given(edits=edits)
def test_mutated_index(prefix, edits):
    path = Path(f"{prefix}.index")
    whole = path.read_bytes()
    try:
        path.write_bytes(mutate(whole, edits))
        read_all(prefix, verify=False)
    finally:
        path.write_bytes(whole)


@FUZZ
@given(edits=edits)
def test_mutated_data_is_found_or_harmless(prefix, edits):
    path = Path(f"{prefix}{DATA}")
    whole = path.read_bytes()
    changed = mutate(whole, edits)
    try:
        path.write_bytes(changed)
        refused = read_all(prefix, verify=True)
        # Bytes behind the last tensor belong to nobody; all others are checked.
        assert refused or changed[: len(whole)] == whole
        read_all(prefix, verify=False)
    finally:
        path.write_bytes(whole)


@FUZZ
@given(edits=edits, row=st.integers(0, 6))
def test_mutated_entries_under_valid_checksums(prefix, edits, row):
    path = Path(f"{prefix}.index")
    whole = path.read_bytes()
    rows = list(read_table(whole))
    key, value = rows[row % len(rows)]
    rows[row % len(rows)] = (key, mutate(value, edits))
    try:
        path.write_bytes(format_table(rows))
        read_all(prefix, verify=False)
    finally:
        path.write_bytes(whole)


@FUZZ
@given(content=st.binary(max_size=300))
def test_any_bytes_as_an_index(tmp_path, content):
    path = tmp_path / "x.index"
    path.write_bytes(content)
    assert read_all(str(tmp_path / "x"), verify=True)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((2**40, 2**40), 8), ((0, 2**62), 0), ((2**62, 0, 2**62), 0), ((10**9,), 4 * 10**9)],
)
def test_absurd_shapes(tmp_path, shape, size):
    prefix = str(tmp_path / "c")
    for dtype in ("float32", "string", "variant"):
        entry = Entry(dtype, shape, size=size)
        rows = [(b"", format_header()), (b"w", format_entry(entry))]
        Path(f"{prefix}.index").write_bytes(format_table(rows))
        Path(f"{prefix}{DATA}").write_bytes(bytes(8))
        assert read_all(prefix, verify=False)
