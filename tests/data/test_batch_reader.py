import pytest

from tests.builders.models import NUM_CLASSES, VIDEO
from tests.builders.records import write_video_records
from yt8m_ensemble.data import BatchReader

pytestmark = pytest.mark.tf


@pytest.fixture
def reader(tmp_path):
    paths = [
        str(write_video_records(tmp_path / f"r{number}", videos=videos, seed=number))
        for number, videos in enumerate((5, 3, 0, 2))
    ]
    return BatchReader(
        paths, features=VIDEO, num_classes=NUM_CLASSES, batch_size=3, cut_at_files=True
    )


def test_a_batch_ends_where_its_file_ends(reader):
    assert [batch.shards.tolist() for batch in reader] == [[0] * 3, [0] * 2, [1] * 3, [3] * 2]


def test_every_pass_reads_the_same(reader):
    first, second = ([batch.video_ids.tolist() for batch in reader] for _ in range(2))
    assert first == second
    assert sum(map(len, first)) == 10
