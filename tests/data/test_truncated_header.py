from typing import Any

import pytest

from tests.builders.models import VIDEO
from tests.builders.records import write_video_records
from yt8m_ensemble.data import explained_errors, read_batches, training_dataset
from yt8m_ensemble.errors import DataError

pytestmark = pytest.mark.tf

OPTIONS: dict[str, Any] = {"features": VIDEO, "num_classes": 4}


def score(paths):
    list(read_batches(paths, **OPTIONS, batch_size=2))


def train(paths):
    """Go through one epoch and a little of the next; epochs never end by themselves."""
    dataset = training_dataset(paths, **OPTIONS, batch_size=2, num_epochs=None, seed=0)
    with explained_errors(paths, **OPTIONS):
        list(dataset.take(4).as_numpy_iterator())


@pytest.mark.parametrize("read", [score, train])
@pytest.mark.parametrize("left", range(1, 12))
def test_a_file_that_ends_inside_a_header_is_cut_short(tmp_path, left, read):
    whole = write_video_records(tmp_path / "whole.tfrecord", videos=3)
    cut = write_video_records(tmp_path / "cut.tfrecord", videos=2)
    cut.write_bytes(cut.read_bytes() + whole.read_bytes()[:left])
    paths = [str(cut), str(whole)]
    with pytest.raises(DataError, match=r"Record 2 of '.*cut.tfrecord' is cut short") as caught:
        read(paths)
    assert (caught.value.path, caught.value.index) == (str(cut), 2)
