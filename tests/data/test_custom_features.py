"""Damaged files of foreign formats: our error, or videos, and never anything else."""

import random

import numpy as np
import pytest

from tests.builders.records import sequence_example
from yt8m_ensemble.data import read_custom_features, write_records
from yt8m_ensemble.errors import DataError

pytestmark = pytest.mark.tf

MESSAGE = sequence_example(
    {"id": [b"x"], "labels": [1]},
    **{"RGB/feature/floats": [[0.5, 0.5]] * 3, "AUDIO/feature/floats": [[0.5]] * 3},
)


def write_npz(path):
    np.savez(
        path,
        video_ids=np.array([b"a", b"b"]),
        rgb=np.ones((3, 4), np.float32),
        frames_indptr=np.array([0, 1, 3]),
        labels_indptr=np.array([0, 1, 2]),
        labels_class_ids=np.array([1, 2]),
    )


def write_parquet(path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = {"id": ["a", "b"], "labels": [[1], [2]], "rgb": [[[1.0, 2.0]], [[3.0, 4.0]]]}
    pq.write_table(pa.table(table), path)


WRITERS = {
    "npz": write_npz,
    "parquet": write_parquet,
    "pb": lambda path: path.write_bytes(MESSAGE),
    "tfrecord": lambda path: write_records(str(path), [MESSAGE, MESSAGE]),
}


@pytest.mark.slow
@pytest.mark.parametrize("suffix", WRITERS)
def test_damaged_files_give_videos_or_our_error(tmp_path, suffix):
    path = tmp_path / f"own.{suffix}"
    WRITERS[suffix](path)
    good = path.read_bytes()
    assert len(list(read_custom_features(str(path)))) in {1, 2}
    draw, refused = random.Random(0), 0
    for _ in range(100):
        content = bytearray(good[: draw.choice([len(good), draw.randrange(1, len(good))])])
        for _ in range(draw.randrange(1, 5)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content)
        try:
            list(read_custom_features(str(path)))
        except DataError as error:
            refused += error.details["path"] == str(path)
    assert refused > 50


def test_no_pickle_is_ever_opened(tmp_path):
    path = tmp_path / "own.npz"
    np.savez(path, video_ids=np.array([b"a"]), rgb=np.array([{"a": 1}], object))
    with pytest.raises(DataError, match="allow_pickle=False") as caught:
        list(read_custom_features(str(path)))
    assert caught.value.path == str(path)
