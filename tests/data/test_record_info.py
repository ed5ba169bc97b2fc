"""What the first record of a file says of itself."""

import pytest

from tests.builders.records import make_frames, make_means
from yt8m_ensemble.data import read_record_info, write_records
from yt8m_ensemble.errors import DataError

pytestmark = pytest.mark.tf


def test_both_levels(tmp_path):
    write_records(str(tmp_path / "v"), [make_means(7, labels=[2, 4])])
    write_records(str(tmp_path / "f"), [make_frames(3, num_frames=4)])
    video, frame = read_record_info(str(tmp_path / "v")), read_record_info(str(tmp_path / "f"))
    assert (video.level, video.sizes) == ("video", {"mean_rgb": 4, "mean_audio": 2})
    assert (video.id_key, video.video_id, video.labels) == ("id", b"v7", (2, 4))
    assert (frame.level, frame.sizes) == ("frame", {"rgb": 4, "audio": 2})
    assert frame.num_frames == {"rgb": 4, "audio": 4}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No record file at"),
        (b"", "holds no record"),
        (b"VideoId,Labels", "does not start with a whole TFRecord"),
    ],
    ids=["absent", "empty", "text"],
)
def test_what_cannot_be_peeked_at(tmp_path, content, words):
    path = tmp_path / "r"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_record_info(str(path))
    assert caught.value.path == str(path)
