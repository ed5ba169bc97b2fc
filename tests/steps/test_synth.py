"""`synth` writes what it says, the same bytes for the same arguments, or nothing."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.builders.records import make_means
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.data import (
    dequantize,
    encode_means,
    read_batches,
    read_record_info,
    write_records,
)
from yt8m_ensemble.errors import DataError, ModelError, OutputExistsError, UsageError
from yt8m_ensemble.steps.synth import plan_synthesize, synthesize
from yt8m_ensemble.values import FeatureSpec

pytestmark = pytest.mark.tf

SIZES = (8, 4)
SMALL: dict[str, Any] = {
    "videos": 25,
    "classes": 12,
    "feature_sizes": SIZES,
    "shards": 3,
    "seed": 5,
}
VIDEO = FeatureSpec(("mean_rgb", "mean_audio"), SIZES, frame_level=False)
FRAME = FeatureSpec(("rgb", "audio"), SIZES, frame_level=True)
STEP = 4 / 255


def digests(folder):
    paths = sorted(Path(folder).iterdir())
    return [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]


def read(folder, features, *, num_classes=12):
    paths = sorted(map(str, Path(folder).iterdir()))
    (batch,) = read_batches(paths, features=features, num_classes=num_classes, batch_size=10_000)
    return batch


@pytest.mark.parametrize("level", ["video", "frame"])
def test_the_same_arguments_give_the_same_bytes(tmp_path, level):
    for name in ("a", "b"):
        synthesize(out=str(tmp_path / name), level=level, **SMALL)
    synthesize(out=str(tmp_path / "c"), level=level, **{**SMALL, "seed": 6})
    assert digests(tmp_path / "a") == digests(tmp_path / "b") != digests(tmp_path / "c")


def test_both_levels_of_a_seed_hold_the_same_videos(tmp_path):
    synthesize(out=str(tmp_path / "v"), level="video", **SMALL)
    synthesize(out=str(tmp_path / "f"), level="frame", **{**SMALL, "shards": 2})
    video, frame = read(tmp_path / "v", VIDEO), read(tmp_path / "f", FRAME)
    np.testing.assert_array_equal(video.video_ids, frame.video_ids)
    np.testing.assert_array_equal(video.labels, frame.labels)
    means = frame.features.sum(axis=1) / frame.num_frames[:, np.newaxis]
    assert (np.abs(means - video.features).max(axis=1) <= STEP / frame.num_frames + 1e-5).all()


def test_splits_of_different_seeds_share_no_video_but_a_world(tmp_path):
    for seed in (1, 2):
        synthesize(out=str(tmp_path / str(seed)), **{**SMALL, "videos": 400, "seed": seed})
    one, two = (read(tmp_path / str(seed), VIDEO) for seed in (1, 2))
    assert not set(one.video_ids.tolist()) & set(two.video_ids.tolist())
    centers = [batch.features[batch.labels[:, 0]].mean(axis=0) for batch in (one, two)]
    synthesize(out=str(tmp_path / "w"), **{**SMALL, "videos": 400, "world_seed": 1})
    other = read(tmp_path / "w", VIDEO)
    stranger = other.features[other.labels[:, 0]].mean(axis=0)
    assert np.corrcoef(*centers)[0, 1] > 0.8 > np.corrcoef(centers[0], stranger)[0, 1]


def test_the_report_says_what_was_written(tmp_path):
    report = synthesize(out=str(tmp_path / "o"), prefix="validate", **SMALL)
    assert report.files == tuple(f"validate000{shard}.tfrecord" for shard in range(3))
    assert [path.name for path in sorted((tmp_path / "o").iterdir())] == list(report.files)
    batch = read(tmp_path / "o", VIDEO)
    assert report.videos == len(batch.video_ids) == 25
    assert report.num_labels == batch.labels.sum()
    assert np.bincount(batch.shards).tolist() == [8, 8, 9]


def test_one_shard_for_every_500_videos(tmp_path):
    options: dict[str, Any] = {
        "videos": 1001,
        "feature_sizes": (1, 1),
        "classes": 3,
    }
    assert len(plan_synthesize(out=str(tmp_path / "o"), **options).files) == 3


def test_labels_can_be_learned_but_not_trivially(tmp_path):
    """A least-squares classifier ranks true classes above chance, far from always."""
    options: dict[str, Any] = {**SMALL, "videos": 1500, "classes": 20, "feature_sizes": (32, 8)}
    for seed in (1, 2):
        synthesize(out=str(tmp_path / str(seed)), **{**options, "seed": seed})
    spec = FeatureSpec(VIDEO.names, (32, 8), frame_level=False)
    train, test = (read(tmp_path / str(seed), spec, num_classes=20) for seed in (1, 2))
    inputs = [np.column_stack([np.ones(1500), batch.features]) for batch in (train, test)]
    weights = np.linalg.lstsq(inputs[0], train.labels.astype(float), rcond=None)[0]
    prior = train.labels.mean(axis=0)
    hits = test.labels[np.arange(1500), (inputs[1] @ weights).argmax(axis=1)].mean()
    assert test.labels[:, prior.argmax()].mean() + 0.15 < hits < 0.95


def write_source(folder, values=((0.5,) * 4, (0.25,) * 2)):
    folder.mkdir()
    for shard in range(2):
        records = [
            encode_means(
                f"r{shard}{index}".encode(),
                [index],
                {"mean_rgb": np.array(values[0]), "mean_audio": np.array(values[1])},
            )
            for index in range(3)
        ]
        write_records(str(folder / f"train{shard}.tfrecord"), records)
    return str(folder / "*.tfrecord")


EXPANDED = FeatureSpec(("rgb", "audio"), (4, 2), frame_level=True)


def test_expanded_videos_keep_id_labels_and_mean(tmp_path):
    source = write_source(tmp_path / "s")
    report = synthesize(out=str(tmp_path / "o"), level="frame", from_video_level=source, classes=3)
    assert (report.videos, report.num_labels, report.clamped_values) == (6, 6, 0)
    assert report.files == ("train0.tfrecord", "train1.tfrecord")
    batch = read(tmp_path / "o", EXPANDED, num_classes=3)
    assert batch.video_ids.tolist() == [b"r00", b"r01", b"r02", b"r10", b"r11", b"r12"]
    assert batch.labels.argmax(axis=1).tolist() == [0, 1, 2, 0, 1, 2]
    means = batch.features.sum(axis=1) / batch.num_frames[:, np.newaxis]
    expected = np.array([0.5] * 4 + [0.25] * 2)
    assert (np.abs(means - expected) <= STEP / batch.num_frames[:, np.newaxis] + 1e-5).all()
    assert batch.num_frames.min() >= 60


def test_what_no_bytes_can_average_to_is_clamped_and_counted(tmp_path):
    source = write_source(tmp_path / "s", values=((2.5, -3.0, 0.0, 2.0), (0.0, 0.0)))
    report = synthesize(out=str(tmp_path / "o"), level="frame", from_video_level=source, classes=3)
    assert report.clamped_values == 12
    batch = read(tmp_path / "o", EXPANDED, num_classes=3)
    first = batch.features[0, : batch.num_frames[0]]
    np.testing.assert_array_equal(first[:, 0], dequantize(np.array(255, np.uint8)))
    np.testing.assert_array_equal(first[:, 1], dequantize(np.array(0, np.uint8)))


def test_real_records_expand_around_their_means(shared, tmp_path):
    source = str(shared / "data" / "yt8m-v2-video" / "validate0000.tfrecord")
    out = str(tmp_path / "o")
    report = synthesize(out=out, level="frame", from_video_level=source, videos=20, classes=3862)
    assert report.feature_sizes == (1024, 128)
    names = ("mean_rgb", "mean_audio")
    real = next(
        read_batches(
            [source],
            features=FeatureSpec(names, (1024, 128), frame_level=False),
            num_classes=3862,
            batch_size=20,
        )
    )
    spec = FeatureSpec(("rgb", "audio"), (1024, 128), frame_level=True)
    batch = read(out, spec, num_classes=3862)
    np.testing.assert_array_equal(batch.video_ids, real.video_ids)
    np.testing.assert_array_equal(batch.labels, real.labels)
    means = batch.features.sum(axis=1, dtype=np.float64) / batch.num_frames[:, np.newaxis]
    assert np.abs(means - real.features).max() <= STEP


def test_a_limit_leaves_the_rest_of_the_source(tmp_path):
    source = write_source(tmp_path / "s")
    options: dict[str, Any] = {"level": "frame", "from_video_level": source, "classes": 3}
    assert synthesize(out=str(tmp_path / "a"), videos=4, **options).videos == 4
    few = synthesize(out=str(tmp_path / "b"), videos=3, prefix="x", **options)
    assert (few.videos, few.files) == (3, ("x0000.tfrecord",))
    assert synthesize(out=str(tmp_path / "c"), shards=1, **options).videos == 3


def test_a_bad_source_record_leaves_nothing(tmp_path):
    write_records(str(tmp_path / "r"), [make_means(0), make_means(1, labels=[9])])
    options: dict[str, Any] = {
        "level": "frame",
        "from_video_level": str(tmp_path / "r"),
        "classes": 5,
    }
    with pytest.raises(DataError, match=r"Record 1 of .* has label 9"):
        synthesize(out=str(tmp_path / "o"), **options)
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"videos": None}, UsageError, "pass `--videos`"),
        ({"frames": (9, 3)}, UsageError, "`--frames` must rise"),
        ({"frames": (0, 3)}, UsageError, "`--frames`: expected a list of 2 integers of at least 1"),
        ({"seed": -1}, UsageError, "`--seed`: expected an integer of at least 0, got -1"),
        ({"feature_names": ("rgb",)}, ModelError, "Give one size a name"),
        (
            {"feature_names": ("depth",), "feature_sizes": ()},
            UsageError,
            "'mean_depth' has no usual size. Set `--feature-sizes`",
        ),
        ({"from_video_level": "x*"}, UsageError, "Pass `--level frame`"),
        ({"from_video_level": "no/such*", "level": "frame"}, DataError, "No file matches"),
    ],
    ids=["nothing", "frames", "no-frame", "seed", "pairs", "unknown", "level", "glob"],
)
def test_what_is_refused(tmp_path, options, error, words):
    with pytest.raises(error) as caught:
        synthesize(out=str(tmp_path / "o"), **{**SMALL, **options})
    assert words in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_sources_of_one_name_need_a_prefix(tmp_path):
    first, second = write_source(tmp_path / "s"), write_source(tmp_path / "t")
    options: dict[str, Any] = {
        "level": "frame",
        "from_video_level": f"{first},{second}",
        "classes": 3,
    }
    with pytest.raises(UsageError, match="`--prefix`"):
        synthesize(out=str(tmp_path / "o"), **options)
    assert synthesize(out=str(tmp_path / "o"), prefix="t", **options).videos == 12


def test_nothing_is_overwritten_without_force(tmp_path):
    out = str(tmp_path / "o")
    synthesize(out=out, **SMALL)
    before = digests(out)
    with pytest.raises(OutputExistsError, match="--force"):
        synthesize(out=out, **{**SMALL, "seed": 9})
    assert digests(out) == before
    synthesize(out=out, force=True, **{**SMALL, "seed": 9})
    assert digests(out) != before


def test_a_remote_directory_is_refused_and_remote_sources_are_read(tmp_path):
    with pytest.raises(UsageError, match="not on a local disk") as caught:
        synthesize(out="ram://o", **SMALL)
    assert caught.value.path == "ram://o"
    write_records("ram://source.tfrecord", [make_means(0), make_means(1)])
    out = str(tmp_path / "o")
    options: dict[str, Any] = {"level": "frame", "from_video_level": "ram://source*", "classes": 5}
    assert synthesize(out=out, **options).videos == 2
    assert read(out, EXPANDED, num_classes=5).video_ids.tolist() == [b"v0", b"v1"]


def test_progress_counts_videos(tmp_path):
    seen = []
    synthesize(out=str(tmp_path / "o"), progress=lambda *a, **_: seen.append(a), **SMALL)
    assert seen[-1] == ("synth", 25, 25)


def run(*arguments):
    return CliRunner().invoke(cli, ["synth", *arguments])


def test_the_command(tmp_path):
    out = str(tmp_path / "o")
    sizes = ("--feature-sizes", "8,4", "--frames", "3", "9", "--level", "frame")
    result = run("--videos", "7", "--classes", "4", *sizes, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["videos"] == 7
    assert read_record_info(f"{out}/train0000.tfrecord").sizes == {"rgb": 8, "audio": 4}


def test_the_command_run_dry_writes_nothing(tmp_path):
    result = run("--videos", "7", "--out", str(tmp_path / "o"), "--dry-run")
    assert result.exit_code == 0
    assert "Would write video-level records" in result.stdout
    assert not list(tmp_path.iterdir())


def test_the_command_refuses_sizes_that_are_none(tmp_path):
    result = run("--videos", "7", "--feature-sizes", "8,x", "--out", str(tmp_path / "o"))
    assert result.exit_code == 2
    assert "'8,x' is not a list of integers" in result.stderr
