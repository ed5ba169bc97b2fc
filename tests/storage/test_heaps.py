"""Heaps of texts in damaged HDF5 files, in which HDF5 itself walks for ever."""

import struct
import zipfile

import numpy as np
import pytest

from yt8m_ensemble import hdf5
from yt8m_ensemble.checkpoints import open_keras_weights, write_keras_weights
from yt8m_ensemble.errors import CheckpointError, ModelError
from yt8m_ensemble.loading import keras_model
from yt8m_ensemble.options import ModelOptions
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
