import pytest

from tests.pico import VIDEO, write_video_records
from yt8m_ensemble.data import read_batches
from yt8m_ensemble.errors import DataError

pytestmark = pytest.mark.tf


@pytest.mark.parametrize("left", range(1, 12))
def test_a_file_that_ends_inside_a_header_is_cut_short(tmp_path, left):
    whole = write_video_records(tmp_path / "whole.tfrecord", videos=3)
    cut = write_video_records(tmp_path / "cut.tfrecord", videos=2)
    cut.write_bytes(cut.read_bytes() + whole.read_bytes()[:left])
    paths = [str(cut), str(whole)]
    with pytest.raises(DataError, match=r"Record 2 of '.*cut.tfrecord' is cut short") as caught:
        list(read_batches(paths, features=VIDEO, num_classes=4, batch_size=2))
    assert (caught.value.path, caught.value.index) == (str(cut), 2)
