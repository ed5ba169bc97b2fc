"""Heaps and trees of damaged HDF5 files, in which HDF5 itself walks for ever."""

import struct
import zipfile

import h5py
import numpy as np
import pytest

from yt8m_ensemble import hdf5
from yt8m_ensemble.checkpoints import open_keras_weights, write_keras_weights
from yt8m_ensemble.errors import CheckpointError, ModelError, PredictionsError
from yt8m_ensemble.loading import keras_model
from yt8m_ensemble.options import ModelOptions
from yt8m_ensemble.storage import PredictionsWriter, open_predictions
from yt8m_ensemble.values import DictSource


def objects(data, start):
    """Yield place, number and size of what a heap holds."""
    (length,) = struct.unpack_from("<Q", data, start + 8)
    place = start + 16
    while place < start + length:
        number, size = struct.unpack_from("<H6xQ", data, place)
        yield place, number, size
        place += size if not number else 16 + (size + 7) // 8 * 8


@pytest.fixture
def heap(tmp_path):
    """A sound file with a heap: its path, its bytes, and where the heap begins."""
    path = tmp_path / "k.weights.h5"
    write_keras_weights(str(path), DictSource({"t/w": np.ones((2, 3), np.float32)}))
    data = bytearray(path.read_bytes())
    start = data.index(b"GCOL\x01")
    assert len(list(objects(data, start))) >= 2
    hdf5.check_heaps(str(path))
    return path, data, start


@pytest.mark.parametrize(
    ("which", "size"),
    [("free", 64), ("free", 0), ("first", 2**64 - 8), ("first", 1 << 40), ("free", 2**63)],
)
@pytest.mark.parametrize("padding", [0, 7])
def test_one_that_does_not_end_is_refused(heap, which, size, padding):
    """Also where free space is told shorter than it is, and the zeros behind it are no object."""
    path, data, start = heap
    data[start + 5] = padding  # HDF5 does not look at it
    found = {("first", "free")[number == 0]: place for place, number, _ in objects(data, start)}
    struct.pack_into("<Q", data, found[which] + 8, size)
    path.write_bytes(data)
    with pytest.raises(OSError, match="does not end"):
        hdf5.check_heaps(str(path))
    with pytest.raises(CheckpointError, match="does not end"):
        open_keras_weights(str(path))


@pytest.fixture
def local(tmp_path):
    """A sound file with a local heap: its path, its bytes, a free block and where they lie."""
    path = tmp_path / "l.h5"
    with h5py.File(path, "w") as file:
        file["a"] = file["b"] = 1
        del file["a"]
    data = bytearray(path.read_bytes())
    start = data.index(b"HEAP\x00")
    _, block, first = struct.unpack_from("<QQQ", data, start + 8)
    hdf5.check_heaps(str(path))
    hdf5.check_heaps_of_attributes(str(path))
    return path, data, block, first


def test_a_list_of_free_blocks_that_leads_back_is_refused(local):
    path, data, block, first = local
    struct.pack_into("<Q", data, first + block, block)
    path.write_bytes(data)
    archive = path.with_suffix(".zip")
    archive.write_bytes(b"before" + data)
    with pytest.raises(OSError, match="does not end"):
        hdf5.check_heaps(str(archive))
    for check in (hdf5.check_heaps, hdf5.check_heaps_of_attributes):
        with pytest.raises(OSError, match="does not end"):
            check(str(path))
    with pytest.raises(PredictionsError, match="does not end"):
        open_predictions(str(path))


@pytest.mark.parametrize("block", [2**63, 8])
def test_other_lists_of_free_blocks_are_left_to_hdf5(local, block):
    path, data, old, first = local
    struct.pack_into("<Q", data, first + old, block)
    path.write_bytes(data)
    hdf5.check_heaps(str(path))


@pytest.mark.parametrize("libver", ["earliest", "v110"])
@pytest.mark.parametrize("place", ["root", "dataset"])
def test_a_heap_anywhere_in_a_cache_is_checked_and_its_rows_are_not_read(
    tmp_path, monkeypatch, libver, place
):
    """Behind more than a megabyte of rows, of which no byte is looked at."""
    path = tmp_path / "c.h5"
    with h5py.File(path, "w", libver=libver) as file:
        file["first"] = 1
        file["rows"] = rows = np.frombuffer(b"GCOL\x01\0\0\0" * 400_000, np.int64)
        item = file if place == "root" else file["rows"]
        for number in range(20):
            item.attrs[f"text {number}"] = "t" * 9_000
    data = bytearray(path.read_bytes())
    read: list[int] = []
    monkeypatch.setattr(hdf5._Watched, "readinto", note_reads(hdf5._Watched.readinto, read))
    hdf5.check_heaps_of_attributes(str(path))
    assert sum(read) < rows.nbytes // 4
    start = data.rindex(b"GCOL\x01")
    assert start > 1 << 20
    free = next(place for place, number, _ in objects(data, start) if not number)
    struct.pack_into("<Q", data, free + 8, 64)
    path.write_bytes(data)
    with pytest.raises(OSError, match=f"a heap or a tree at byte {start:,} does not end"):
        hdf5.check_heaps_of_attributes(str(path))


def note_reads(real, read):
    def noted(self, buffer):
        read.append(len(buffer))
        return real(self, buffer)

    return noted


def test_a_cache_whose_names_would_lie_in_heaps_is_refused(tmp_path):
    path = str(tmp_path / "c.h5")
    with PredictionsWriter(path, members="a", digests="a", num_classes=3) as writer:
        writer.append(np.array([b"v"]), np.ones((1, 1, 3), np.float32), None)
        writer.end_shard("s")
    with h5py.File(path, "r+") as file:
        del file["shards/names"]
        file.create_dataset("shards/names", data=["s"], dtype=h5py.string_dtype())
    with pytest.raises(PredictionsError, match="`shards/names` holds texts of any length"):
        open_predictions(path)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_one_of_a_keras_model_is_refused_before_hdf5_reads_it(heap, tmp_path, suffix):
    _, data, start = heap
    free = next(place for place, number, _ in objects(data, start) if not number)
    struct.pack_into("<Q", data, free + 8, 64)
    path = tmp_path / f"model{suffix}"
    if suffix == ".h5":
        path.write_bytes(data)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")
            archive.writestr("model.weights.h5", bytes(data))
    with pytest.raises(ModelError, match=r"damaged one: .*does not end"):
        keras_model.load_keras_model(str(path), ModelOptions())


def test_what_hdf5_says_of_a_damaged_number_type_becomes_our_error(heap, monkeypatch):
    path, *_ = heap

    def refuse(*_, **__):
        msg = "Insufficient precision in available types to represent (9, 8, 3, 0, 2)"
        raise ValueError(msg)

    monkeypatch.setattr(keras_model, "check_links", refuse)
    with pytest.raises(ModelError, match="damaged one: Insufficient precision"):
        keras_model.load_keras_model(str(path), ModelOptions())


@pytest.fixture
def tree(tmp_path):
    """A sound file whose groups take a tree of two levels: its path, its bytes, and the top."""
    path = tmp_path / "t.h5"
    with h5py.File(path, "w") as file:
        for number in range(400):
            file.create_group(f"g{number:03}")
    data = bytearray(path.read_bytes())
    start = data.index(b"TREE\x00")
    while not data[start + 5]:
        start = data.index(b"TREE\x00", start + 1)
    hdf5.check_heaps(str(path))
    hdf5.check_heaps_of_attributes(str(path))
    return path, data, start


@pytest.mark.parametrize("entry", [0, 1])
def test_a_tree_whose_node_is_its_own_child_is_refused(tree, entry):
    path, data, start = tree
    struct.pack_into("<Q", data, start + 24 + 16 * entry + 8, start)
    path.write_bytes(data)
    for check in (hdf5.check_heaps, hdf5.check_heaps_of_attributes):
        with pytest.raises(OSError, match="does not end"):
            check(str(path))
    with pytest.raises(PredictionsError, match="does not end"):
        open_predictions(str(path))


def test_a_tree_whose_children_are_elsewhere_is_left_to_hdf5(tree):
    path, data, start = tree
    struct.pack_into("<Q", data, start + 32, 2**62)
    path.write_bytes(data)
    hdf5.check_heaps(str(path))
    hdf5.check_heaps_of_attributes(str(path))


@pytest.fixture(params=[1, 3, 4])
def chunks(request, tmp_path):
    """A sound file whose dataset takes a tree of two levels: its path, its bytes, rank and top."""
    path = tmp_path / "c.h5"
    rank = request.param
    with h5py.File(path, "w") as file:
        rows = np.arange(800, dtype=np.int64).reshape(400, *(1,) * (rank - 2), -1)
        rows = rows.reshape(-1) if rank == 1 else rows
        file.create_dataset("rows", data=rows, chunks=(1,) * rank)
    data = bytearray(path.read_bytes())
    start = data.index(b"TREE\x01")
    while not data[start + 5]:
        start = data.index(b"TREE\x01", start + 1)
    hdf5.check_heaps(str(path))
    hdf5.check_heaps_of_attributes(str(path))
    return path, data, rank, start


@pytest.mark.parametrize("entry", [0, 1])
def test_a_tree_of_chunks_whose_node_is_its_own_child_is_refused(chunks, entry):
    """HDF5 fills the stack with it as soon as one chunk is sought."""
    path, data, rank, start = chunks
    key = 16 + 8 * rank
    struct.pack_into("<Q", data, start + 24 + entry * (key + 8) + key, start)
    path.write_bytes(data)
    for check in (hdf5.check_heaps, hdf5.check_heaps_of_attributes):
        with pytest.raises(OSError, match="does not end"):
            check(str(path))
    with pytest.raises(PredictionsError, match="does not end"):
        open_predictions(str(path))


def test_a_tree_of_chunks_whose_children_are_elsewhere_is_left_to_hdf5(chunks):
    path, data, rank, start = chunks
    struct.pack_into("<Q", data, start + 24 + 16 + 8 * rank, 2**62)
    path.write_bytes(data)
    hdf5.check_heaps(str(path))
    hdf5.check_heaps_of_attributes(str(path))
