"""What records hold that may not be expected is counted by the reader and said by each command."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from tests.builders.records import FRAMES, MEANS, make_frames, make_means, sequence_example
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.data import write_records
from yt8m_ensemble.data.census import few_classes
from yt8m_ensemble.data.reading import BatchReader, survey_records
from yt8m_ensemble.errors import DataError

pytestmark = pytest.mark.tf


def census_of(paths, features, *, num_classes=5):
    reader = BatchReader(
        [str(path) for path in paths], features=features, num_classes=num_classes, batch_size=2
    )
    num_videos = sum(len(batch.video_ids) for batch in reader)
    assert reader.census.num_videos == num_videos
    return reader.census


def records(path, made):
    write_records(str(path), made)
    return path


def test_plain_records_give_no_warning(tmp_path):
    path = records(tmp_path / "r", [make_frames(n, num_frames=6) for n in range(5)])
    census = census_of([path], FRAMES)
    assert census.warnings == ()
    assert (census.num_cut, census.num_labels) == (0, 5)


def test_videos_cut_at_the_limit_are_counted(tmp_path):
    made = [make_frames(n, num_frames=frames) for n, frames in enumerate((6, 7, 3, 9))]
    census = census_of([records(tmp_path / "r", made)], FRAMES)
    assert census.num_cut == 2
    assert census.warnings == ("2 of 4 videos are longer than 6 frames and were cut there.",)


@pytest.mark.parametrize("empties", [1, 2])
def test_files_without_a_record_are_counted(tmp_path, empties):
    full = records(tmp_path / "r", [make_means(0)])
    for n in range(empties):
        (tmp_path / f"e{n}").touch()
    paths = [tmp_path / f"e{n}" for n in range(empties)]
    (warning,) = census_of([*paths, full], MEANS).warnings
    assert warning.startswith(f"{empties} of {empties + 1} files hold")
    assert f"no records: '{tmp_path}/e0'" in warning
    # A pass that ended early says nothing of the files that it did not reach.
    reader = BatchReader([str(full), str(paths[0])], features=MEANS, num_classes=5, batch_size=1)
    next(iter(reader))
    assert reader.census.warnings == ()


def test_records_of_segments_are_counted(tmp_path):
    rgb, audio = np.zeros((2, 4), np.uint8), np.zeros((2, 2), np.uint8)
    made = [
        sequence_example(
            {"id": [b"s%d" % n], "labels": [1], **({"segment_labels": [1, 1]} if n else {})},
            rgb=[[row.tobytes()] for row in rgb],
            audio=[[row.tobytes()] for row in audio],
        )
        for n in range(3)
    ]
    made = [one if isinstance(one, bytes) else one.SerializeToString() for one in made]
    (warning,) = census_of([records(tmp_path / "r", made)], FRAMES).warnings
    assert warning.startswith("2 of 3 videos carry labels of segments")


def test_few_classes_take_many_labels():
    assert few_classes(np.array([60, 0, 0, 0]), 4) is not None
    assert few_classes(np.array([9, 0, 0, 0]), 4) is None  # too few labels to tell
    assert few_classes(np.array([60, 60, 0, 0]), 4) is None  # half of the classes
    assert few_classes(np.zeros(4, np.int64), 4) is None


def test_a_survey_reads_the_first_videos(tmp_path):
    made = [make_frames(n, num_frames=7 if n else 6, labels=[0]) for n in range(80)]
    full, empty = records(tmp_path / "r", made), tmp_path / "e"
    empty.touch()
    paths = [str(empty), str(full)]
    found = survey_records(paths, features=FRAMES, num_classes=9, max_videos=40)
    assert found == (
        f"1 of 2 files holds no records: '{empty}'.",
        "Of the first 64 videos: 63 of 64 videos are longer than 6 frames and were cut there.",
        "Of the first 64 videos: 64 labels are all below class 1, of 9 classes. Compare the number "
        "of classes with the vocabulary.",
    )
    with pytest.raises(DataError, match="None of the 1 record files holds a record"):
        survey_records(paths[:1], features=FRAMES, num_classes=9)


@pytest.mark.slow
def test_training_says_it_before_the_first_step(tmp_path):
    made = [make_means(n, labels=[0]) for n in range(40)]
    records(tmp_path / "r0", made)
    (tmp_path / "r1").touch()
    arguments = ["train", "--model", "LogisticModel", "--train-data", str(tmp_path / "r*")]
    arguments += [
        "--train-dir",
        str(tmp_path / "run"),
        "--feature-sizes",
        "4,2",
        "--max-steps",
        "1",
    ]
    done = CliRunner().invoke(cli, [*arguments, "--num-classes", "50", "--batch-size", "8"])
    assert done.exit_code == 0, done.output
    assert "1 of 2 files holds no records" in done.stderr
    assert "Of the first 40 videos: 40 labels are all below class 1, of 50 classes" in done.stderr


def convert(*arguments):
    done = CliRunner().invoke(cli, ["convert", *map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), done.stderr


def test_conversions_say_what_they_cut(tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.uniform(-30, 30, (301 + 5, 4)).astype(np.float32)
    frames[7, 2] = 30.5
    np.savez(
        tmp_path / "f.npz",
        video_ids=np.array([b"long", b"short"]),
        frames_indptr=np.array([0, 301, 306]),
        labels_indptr=np.array([0, 1, 2]),
        labels_class_ids=np.array([0, 1]),
        rgb=frames,
    )
    found, shown = convert("features", tmp_path / "f.npz", tmp_path / "records")
    assert found["long_videos"] == 1
    assert "1 of 2 videos have more than 300 frames" in shown
    assert f"{found['clipped_values']:,} of 1,224 values lie outside -1.99 to 2.01" in shown
    assert "the largest is 30.5. `--scale 0.065` makes all fit." in shown
    scaled = ["features", tmp_path / "f.npz", tmp_path / "scaled", "--scale", "0.065"]
    found, shown = convert(*scaled)
    assert (found["clipped_values"], found["scale"]) == (0, 0.065)
    assert "scaled by 0.065" in shown
    found, shown = convert("records", tmp_path / "scaled" / "*", tmp_path / "back.npz")
    assert found["long_videos"] == 1
    assert "1 of 2 videos are longer than 300 frames and were cut there" in shown
    from yt8m_ensemble.data import dequantize

    with np.load(tmp_path / "back.npz") as back:
        expected = np.concatenate([frames[:300], frames[301:]]) * np.float32(0.065)
        np.testing.assert_allclose(dequantize(back["rgb"]), expected, atol=2 / 255 + 1e-6)


def test_means_are_scaled_too(tmp_path):
    means = np.array([[8.0, -4.0]], np.float32)
    np.savez(tmp_path / "m.npz", video_ids=np.array([b"a"]), mean_rgb=means)
    convert("features", tmp_path / "m.npz", tmp_path / "r", "--scale", "0.25")
    convert("records", tmp_path / "r" / "*", tmp_path / "b.npz")
    with np.load(tmp_path / "b.npz") as back:
        np.testing.assert_array_equal(back["mean_rgb"], means / 4)
