import numpy as np
import pytest

from tests.builders.records import write_video_records
from yt8m_ensemble.data import encode_frames, encode_means, read_video_ids, write_records
from yt8m_ensemble.errors import DataError

pytestmark = pytest.mark.tf


def test_ids_of_both_levels_are_read_in_order(tmp_path):
    means = {"mean_rgb": np.zeros(3, np.float32)}
    frames = {"rgb": np.zeros((2, 3), np.uint8)}
    write_records(str(tmp_path / "v"), [encode_means(b"a%d" % n, [n], means) for n in range(3)])
    write_records(str(tmp_path / "f"), [encode_frames(b"long-id", [1], frames)])
    found = read_video_ids([str(tmp_path / "v"), str(tmp_path / "f")])
    assert found.tolist() == [b"a0", b"a1", b"a2", b"long-id"]
    assert read_video_ids([]).tolist() == []


def test_damage_and_missing_ids_name_the_file(tmp_path):
    write_video_records(tmp_path / "r", seed=0)
    content = bytearray((tmp_path / "r").read_bytes())
    content[20] ^= 1
    (tmp_path / "r").write_bytes(content)
    with pytest.raises(DataError, match=r"'.*/r' cannot be read as records"):
        read_video_ids([str(tmp_path / "r")])
    means = {"mean_rgb": np.zeros(3, np.float32)}
    write_records(str(tmp_path / "v"), [encode_means(b"", [1], means)])
    with pytest.raises(DataError, match=r"'.*/v' holds a record without a video id"):
        read_video_ids([str(tmp_path / "v")])
