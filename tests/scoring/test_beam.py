"""The Beam runner: the cache that `predict` writes, by two processes, resumed after a failure."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders.models import small_flags, write_train_dir
from tests.builders.records import write_video_records
from yt8m_ensemble.errors import MissingDependencyError, PredictionsError
from yt8m_ensemble.options import PredictOptions
from yt8m_ensemble.scoring.beam import PartWriter, predict_on_beam
from yt8m_ensemble.steps.predict import predict_scores
from yt8m_ensemble.storage import open_predictions, predictions_digest

pytestmark = pytest.mark.tf


def test_the_checksum_library_that_beam_is_fast_with_comes_with_it():
    from apache_beam.io import tfrecordio

    assert tfrecordio._default_crc32c_fn(b"123456789") == 0xE3069283  # RFC 3720's check value
    assert tfrecordio._default_crc32c_fn.fn.__module__.startswith("google_crc32c")


@pytest.fixture
def setting(tmp_path):
    write_train_dir(tmp_path / "a", small_flags("LogisticModel"))
    for number in range(3):
        write_video_records(tmp_path / f"r{number}.tfrecord", seed=number, first=number * 100)
    return tmp_path


@pytest.fixture
def beam(monkeypatch):
    """Make sure that Apache Beam's workers find this package."""
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)


def arguments(setting):
    return {"models": [f"{setting}/a"], "data": f"{setting}/r*.tfrecord", "batch_size": 4}


def beam_options(setting):
    return PredictOptions(
        **arguments(setting), cache=f"{setting}/two.h5", runner="beam", num_workers=2
    )


def test_without_beam_the_error_names_the_command_that_installs_it(setting, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'yt8m-ensemble\[beam\]'") as got:
        predict_scores(**arguments(setting), cache=f"{setting}/x.h5", runner="beam")
    assert got.value.package == "apache-beam"


def test_a_part_holds_one_record_file_and_is_not_written_twice(setting):
    part = setting / "parts" / "r1.h5"
    writer = PartWriter(PredictOptions(**arguments(setting)))
    writer.open()
    try:
        writer.write(f"{setting}/r1.tfrecord", str(part))
        before = part.stat().st_ino
        writer.write(f"{setting}/r1.tfrecord", str(part))
    finally:
        writer.close()
    assert part.stat().st_ino == before
    assert [path.name for path in part.parent.iterdir()] == ["r1.h5"]
    with open_predictions(str(part)) as found:
        assert (found.num_videos, found.is_complete) == (10, True)
        assert found.shards == (f"{setting}/r1.tfrecord",)


@pytest.mark.slow
@pytest.mark.usefixtures("beam")
@pytest.mark.filterwarnings("ignore")  # of Beam's own
def test_two_processes_write_the_cache_of_one(setting):
    predict_scores(**arguments(setting), cache=f"{setting}/one.h5", csv=f"{setting}/one.csv")
    result = predict_on_beam(replace(beam_options(setting), csv=f"{setting}/two.csv"))
    assert (result.num_videos, result.num_files, result.num_scored) == (30, 3, 3)
    assert result.num_resumed == 0
    one, two = (predictions_digest(f"{setting}/{name}.h5") for name in ("one", "two"))
    assert one == two
    assert (setting / "one.csv").read_bytes() == (setting / "two.csv").read_bytes()
    assert not (setting / "two.h5.parts").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("beam")
@pytest.mark.filterwarnings("ignore")  # of Beam's own
def test_a_run_that_failed_goes_on_with_what_is_missing(setting):
    whole = (setting / "r2.tfrecord").read_bytes()
    (setting / "r2.tfrecord").write_bytes(whole[:-3])
    with pytest.raises(PredictionsError, match=r"[12] of 3 record files .*r2.tfrecord") as caught:
        predict_on_beam(beam_options(setting))
    # A slow machine may stop the other worker before it has written its part.
    missing = caught.value.files
    assert isinstance(missing, list)
    assert f"{setting}/r2.tfrecord" in missing
    assert "cut short" in str(caught.value)
    assert not (setting / "two.h5").exists()
    write_train_dir(setting / "b", small_flags("LogisticModel"), seed=9)
    with pytest.raises(PredictionsError, match="left from a run with other models"):
        predict_on_beam(replace(beam_options(setting), models=[f"{setting}/b"]))
    (setting / "r2.tfrecord").write_bytes(whole)
    result = predict_on_beam(beam_options(setting))
    assert (result.num_videos, result.num_scored) == (30, len(missing))
    assert result.num_resumed == 30 - 10 * len(missing)
