"""Shares of the record files, and caches that go on where a run was killed."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from tests.builders.models import small_flags, write_train_dir
from tests.builders.records import write_video_records
from yt8m_ensemble.errors import OutputExistsError, PredictionsError, UsageError
from yt8m_ensemble.steps.merge_predictions import merge_predictions
from yt8m_ensemble.steps.predict import plan_predict_scores, predict_scores
from yt8m_ensemble.storage import open_predictions, predictions_digest

pytestmark = pytest.mark.tf


@pytest.fixture
def setting(tmp_path):
    for seed, name in enumerate("ab"):
        write_train_dir(tmp_path / name, small_flags("LogisticModel"), seed=seed)
    for number in range(5):
        videos = 0 if number == 2 else 10 + number
        path = tmp_path / f"r{number}.tfrecord"
        write_video_records(path, videos=videos, seed=number, prefix=f"f{number}")
    return tmp_path


def run(setting, out, *, step=predict_scores, **options):
    arguments = {
        "models": [f"{setting}/a", f"{setting}/b"],
        "data": f"{setting}/r*.tfrecord",
        "batch_size": 4,
    }
    return step(**{**arguments, **options}, cache=f"{setting}/{out}")


class KilledError(Exception):
    """Stands for the end of a process."""


def interrupt(setting, out, *, after, **options):
    """Run until so many videos are written, then fail."""

    def stop(_, done, *__, **___):
        if done >= after:
            raise KilledError

    with pytest.raises(KilledError):
        run(setting, out, **options, progress=stop)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_parts_of_all_shares_make_the_whole(setting, count):
    run(setting, "whole.h5")
    parts = [f"part{index}.h5" for index in range(count)]
    videos = [
        run(setting, part, shard=(index, count)).num_videos for index, part in enumerate(parts)
    ]
    assert sum(videos) == 48
    merge_predictions(parts=[f"{setting}/{p}" for p in parts], out=f"{setting}/merged.h5")
    whole, merged = (predictions_digest(f"{setting}/{name}.h5") for name in ("whole", "merged"))
    assert whole == merged


def test_a_cache_ends_a_shard_at_every_record_file_also_an_empty_one(setting):
    run(setting, "whole.h5")
    with open_predictions(f"{setting}/whole.h5") as found:
        assert found.shards == tuple(f"{setting}/r{number}.tfrecord" for number in range(5))
        assert found.shard_ends == (10, 21, 21, 34, 48)


def test_a_finished_share_is_left_as_it_is(setting):
    first = run(setting, "part.h5", shard=(0, 2))
    before = (setting / "part.h5").stat()
    again = run(setting, "part.h5", shard=(0, 2))
    after = (setting / "part.h5").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    assert (again.num_videos, again.num_resumed) == (first.num_videos, first.num_videos)
    assert first.num_resumed == 0


@pytest.mark.parametrize(
    "options",
    [
        {"shard": (1, 2)},
        {"shard": (0, 2), "cache_top_k": 2},
        {"shard": (0, 2), "models": ["b"]},
        {},
    ],
    ids=["other share", "other top k", "other model", "no share"],
)
def test_a_finished_cache_of_something_else_is_not_touched(setting, options):
    run(setting, "part.h5", shard=(0, 2))
    if "models" in options:
        options = {**options, "models": [f"{setting}/{name}" for name in options["models"]]}
    with pytest.raises(OutputExistsError, match="`--force`"):
        run(setting, "part.h5", **options)


def test_an_interrupted_cache_is_continued_to_what_an_unbroken_run_writes(setting):
    run(setting, "whole.h5")
    interrupt(setting, "broken.h5", after=26)  # in the fourth file
    with pytest.raises(PredictionsError, match=r"partial' holds 3 record files, 21 videos so far"):
        open_predictions(f"{setting}/broken.h5")
    result = run(setting, "broken.h5")
    assert (result.num_videos, result.num_resumed) == (48, 21)
    whole, broken = (predictions_digest(f"{setting}/{name}.h5") for name in ("whole", "broken"))
    assert whole == broken


def test_a_submission_beside_a_continued_cache_is_whole(setting):
    one = {"models": [f"{setting}/a"]}
    run(setting, "whole.h5", **one, csv=f"{setting}/whole.csv")
    interrupt(setting, "broken.h5", after=26, **one, csv=f"{setting}/broken.csv")
    assert not (setting / "broken.csv").exists()
    result = run(setting, "broken.h5", **one, csv=f"{setting}/broken.csv")
    assert (result.num_videos, result.num_resumed) == (48, 21)
    assert (setting / "broken.csv").read_bytes() == (setting / "whole.csv").read_bytes()
    whole, broken = (predictions_digest(f"{setting}/{name}.h5") for name in ("whole", "broken"))
    assert whole == broken


def test_an_unfinished_cache_of_other_records_is_refused(setting):
    interrupt(setting, "broken.h5", after=26)
    with pytest.raises(PredictionsError, match=r"holds scores of .*r0.tfrecord'") as caught:
        run(setting, "broken.h5", data=f"{setting}/r3.tfrecord")
    assert caught.value.shards == [f"{setting}/r0.tfrecord", f"{setting}/r1.tfrecord",
                                   f"{setting}/r2.tfrecord"]  # fmt: skip
    run(setting, "broken.h5", data=f"{setting}/r3.tfrecord", force=True)


@pytest.mark.slow
def test_a_killed_process_loses_at_most_one_shard(setting):
    """SIGKILL while the fourth file is scored; the first three are kept and not scored again."""
    code = f"""
        import os, signal
        from yt8m_ensemble.steps.predict import plan_predict_scores, predict_scores
        def die(task, done, total, *, unit="", note=""):
            if done >= 26:
                os.kill(os.getpid(), signal.SIGKILL)
        predict_scores(models=["{setting}/a", "{setting}/b"], data="{setting}/r*.tfrecord",
                       cache="{setting}/killed.h5", batch_size=4, progress=die)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=False, timeout=300, env=os.environ
    )
    assert done.returncode == -signal.SIGKILL
    result = run(setting, "killed.h5")
    assert (result.num_videos, result.num_resumed) == (48, 21)
    run(setting, "whole.h5")
    whole, killed = (predictions_digest(f"{setting}/{name}.h5") for name in ("whole", "killed"))
    assert whole == killed


def test_a_cache_of_the_top_k_holds_the_highest_scores(setting):
    run(setting, "dense.h5")
    run(setting, "top.h5", cache_top_k=2)
    with (
        open_predictions(f"{setting}/dense.h5") as dense,
        open_predictions(f"{setting}/top.h5") as top,
    ):
        assert top.top_k == 2
        full = dense.scores("b")
        border = np.sort(full, axis=1)[:, -2:-1]
        np.testing.assert_array_equal(top.scores("b"), np.where(full >= border, full, border / 2))


def test_more_processes_than_files_are_refused(setting):
    with pytest.raises(UsageError, match="there are 5 record files") as caught:
        run(setting, "part.h5", shard=(5, 6))
    assert caught.value.files == 5


def test_a_record_file_with_a_long_path_can_be_cached(setting):
    folder = setting / ("x" * 120) / ("y" * 120)
    folder.mkdir(parents=True)
    (setting / "r0.tfrecord").rename(folder / "r0.tfrecord")
    assert run(setting, "long.h5", data=f"{folder}/r0.tfrecord").num_videos == 10
    with open_predictions(f"{setting}/long.h5") as found:
        assert found.shards[0].endswith("y/r0.tfrecord")


def test_a_dry_run_sees_that_an_unfinished_cache_is_of_other_models(setting):
    interrupt(setting, "x.h5", after=26)
    with pytest.raises(PredictionsError, match="unfinished work of another run"):
        run(setting, "x.h5", models=[f"{setting}/a"], step=plan_predict_scores)
