"""How many records there are, told from a few."""

import pytest

from yt8m_ensemble.data import BatchReader, estimate_num_records
from yt8m_ensemble.steps.synth import synthesize
from yt8m_ensemble.values import FeatureSpec


@pytest.mark.slow
@pytest.mark.parametrize("level", ["video", "frame"])
def test_many_records_are_estimated(tmp_path, level):
    synthesize(
        videos=1200, classes=5, level=level, feature_sizes=(6, 2), frames=(3, 6), shards=10,
        out=str(tmp_path / "r"),
    )  # fmt: skip
    paths = sorted(map(str, (tmp_path / "r").iterdir()))
    found = estimate_num_records(paths)
    assert found == pytest.approx(1200, rel=0.1)
    assert len(str(found).rstrip("0")) <= 2
    spec = FeatureSpec(("mean_rgb", "mean_audio"), (6, 2), frame_level=False)
    reader = BatchReader(paths, features=spec, num_classes=5, batch_size=10)
    assert reader.estimated_videos == found


def test_few_records_are_counted(tmp_path):
    synthesize(videos=13, classes=5, feature_sizes=(6, 2), out=str(tmp_path / "r"))
    assert estimate_num_records([*map(str, (tmp_path / "r").iterdir())]) == 13


def test_what_cannot_be_read_has_no_estimate(tmp_path):
    (tmp_path / "empty.tfrecord").touch()
    (tmp_path / "damaged.tfrecord").write_bytes(b"no record at all")
    assert estimate_num_records([]) is None
    for name in ("empty", "damaged", "absent"):
        assert estimate_num_records([str(tmp_path / f"{name}.tfrecord")]) is None
