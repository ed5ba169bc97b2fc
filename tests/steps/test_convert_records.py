"""Conversions: what goes in comes out, and what does not fit is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.builders.records import make_frames, make_means, sequence_example, write_shards
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.data import dequantize, quantize, read_batches, read_record_info
from yt8m_ensemble.errors import DataError, MissingDependencyError, OutputExistsError
from yt8m_ensemble.steps.convert_records import (
    convert_features,
    convert_predictions,
    convert_records,
    plan_convert_features,
    plan_convert_predictions,
    plan_convert_records,
)
from yt8m_ensemble.values import FeatureSpec

pytestmark = pytest.mark.tf


def read(folder, names, sizes, *, frame_level, num_classes=5):
    paths = sorted(map(str, Path(folder).iterdir()))
    spec = FeatureSpec(names, sizes, frame_level=frame_level)
    (batch,) = read_batches(paths, features=spec, num_classes=num_classes, batch_size=10_000)
    return batch


# Cloud batch prediction -> CSV


def write_json(path, *answers):
    path.write_text("".join(f"{json.dumps(answer)}\n" for answer in answers))


def test_predictions_as_the_starter_codes_model_answers_them(tmp_path):
    plain = {"video_id": "ab", "class_indexes": [7, 3], "predictions": [0.25, 0.5]}
    wrapped = {"video_id": ["cd"], "class_indexes": [[1]], "predictions": [[1e-7]]}
    write_json(tmp_path / "prediction.results-0", plain)
    write_json(tmp_path / "prediction.results-1", wrapped)
    out = tmp_path / "out.csv"
    done = convert_predictions(predictions=str(tmp_path / "prediction.results*"), out=str(out))
    assert done.videos == 2
    assert out.read_text() == "VideoId,LabelConfidencePairs\nab,3 0.5 7 0.25\ncd,1 1e-07\n"


def test_pairs_fall_ties_go_by_class_and_top_k_cuts(tmp_path):
    answer = {"video_id": "a", "class_indexes": [9, 2, 5, 4], "predictions": [0.5, 0.5, 0.75, 0.1]}
    write_json(tmp_path / "p", answer)
    out = tmp_path / "out.csv"
    convert_predictions(predictions=str(tmp_path / "p"), out=str(out), top_k=3)
    assert out.read_text().splitlines()[1] == "a,5 0.75 2 0.5 9 0.5"


GOOD = {"video_id": "a", "class_indexes": [1], "predictions": [0.5]}


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("{", "is no prediction: Input data was truncated"),
        ('["a"]', "is no prediction: expected an object, got a list"),
        ('{"video_id": "b", "class_indexes": [1]}', "missing required field `predictions`"),
        (
            '{"video_id": "b", "class_indexes": [1, 2], "predictions": [0.5]}',
            "equally many class_indexes and predictions",
        ),
        (
            '{"video_id": "b", "class_indexes": [1], "predictions": [NaN]}',
            "is no prediction: JSON is malformed",
        ),
        (json.dumps(GOOD), "repeats video 'a' of line 1"),
    ],
    ids=["broken", "list", "missing", "unequal", "nan", "twice"],
)
def test_a_bad_prediction_is_named_and_leaves_nothing(tmp_path, bad, words):
    path = tmp_path / "p"
    path.write_text(f"{json.dumps(GOOD)}\n\n{bad}\n")
    with pytest.raises(DataError, match=r"^Line 3 of ") as caught:
        convert_predictions(predictions=str(path), out=str(tmp_path / "out.csv"))
    assert words in str(caught.value)
    assert (caught.value.path, caught.value.line) == (str(path), 3)
    assert [p.name for p in tmp_path.iterdir()] == ["p"]


# Records -> npz -> records


@pytest.mark.parametrize(
    ("make", "names", "frame_level"),
    [(make_means, ("mean_rgb", "mean_audio"), False), (make_frames, ("rgb", "audio"), True)],
    ids=["video", "frame"],
)
def test_records_survive_the_way_there_and_back(tmp_path, make, names, frame_level):
    (tmp_path / "in").mkdir()
    write_shards(tmp_path / "in", make)
    npz = str(tmp_path / "all.npz")
    done = convert_records(records=str(tmp_path / "in" / "*"), out=npz, num_classes=5)
    assert (done.videos, done.level) == (15, "frame" if frame_level else "video")
    back = convert_features(features=npz, out=str(tmp_path / "out"), num_classes=5)
    assert (back.videos, back.clipped_values, back.cut_frames) == (15, 0, 0)
    one, two = (
        read(tmp_path / name, names, (4, 2), frame_level=frame_level) for name in ("in", "out")
    )
    for field in ("video_ids", "features", "num_frames", "labels"):
        np.testing.assert_array_equal(getattr(one, field), getattr(two, field))


def test_the_npz_holds_what_is_documented(tmp_path):
    paths = write_shards(tmp_path, make_frames, counts=(2,))
    npz = str(tmp_path / "all.npz")
    convert_records(records=paths[0], out=npz, num_classes=5, feature_names=("rgb",))
    with np.load(npz) as arrays:
        assert arrays["video_ids"].tolist() == [b"v0", b"v1"]
        assert arrays["frames_indptr"].tolist() == [0, 1, 3]
        assert arrays["labels_indptr"].tolist() == [0, 1, 2]
        assert arrays["labels_class_ids"].tolist() == [0, 1]
        assert (arrays["rgb"].shape, arrays["rgb"].dtype) == ((3, 4), np.uint8)
        assert "audio" not in arrays


def test_a_feature_that_is_not_there_is_named(tmp_path):
    paths = write_shards(tmp_path, make_means)
    with pytest.raises(DataError, match="has no feature 'depth'"):
        convert_records(
            records=paths[0], out=str(tmp_path / "x"), num_classes=5, feature_names=("depth",)
        )


# Own features -> records


def save(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


def test_float_frames_are_quantised_and_clipping_is_counted(tmp_path):
    frames = np.array([[0.5, 9.0], [-0.5, 0.0], [1.0, -9.0]], np.float32)
    labels = np.array([[True, False, True], [False, False, False]])
    npz = save(
        tmp_path / "own.npz",
        video_ids=np.array(["ü", "b"]),
        labels=labels,
        frames_indptr=np.array([0, 1, 3]),
        depth=frames,
    )
    done = convert_features(features=npz, out=str(tmp_path / "o"), num_classes=3)
    assert (done.level, done.feature_sizes, done.clipped_values) == ("frame", {"depth": 2}, 2)
    batch = read(tmp_path / "o", ("depth",), (2,), frame_level=True, num_classes=3)
    assert batch.video_ids.tolist() == ["ü".encode(), b"b"]
    np.testing.assert_array_equal(batch.labels, labels)
    assert batch.num_frames.tolist() == [1, 2]
    np.testing.assert_array_equal(quantize(batch.features[1, :2]), quantize(frames[1:]))


def test_ground_truth_takes_the_place_of_the_files_labels(tmp_path):
    npz = save(tmp_path / "own.npz", video_ids=np.array([b"a", b"b"]), m=np.zeros((2, 3)))
    (tmp_path / "labels.csv").write_text("b,2\na,0 1\n")
    labels = str(tmp_path / "labels.csv")
    convert_features(features=npz, out=str(tmp_path / "o"), labels=labels, num_classes=3)
    batch = read(tmp_path / "o", ("m",), (3,), frame_level=False, num_classes=3)
    assert batch.labels.tolist() == [[True, True, False], [False, False, True]]
    (tmp_path / "labels.csv").write_text("b,2\n")
    with pytest.raises(DataError, match=r"Video 'a' of .* has no line in the file") as caught:
        convert_features(features=npz, out=str(tmp_path / "p"), labels=labels, num_classes=3)
    assert caught.value.video_id == "a"


def mediapipe(rgb, audio, **context):
    return sequence_example(
        context,
        **{
            "RGB/feature/floats": rgb,
            "AUDIO/feature/floats": audio,
            "RGB/feature/timestamp": [[t] for t in range(len(rgb))],
        },
    )


def test_mediapipes_float_lists_become_bytes(tmp_path):
    rgb, audio = [[0.5, -0.5]] * 3, [[0.25]] * 2
    paths = {"clip/data_path": [b"/videos/cat one.mp4"], "clip/label/index": [2]}
    (tmp_path / "features.pb").write_bytes(mediapipe(rgb, audio, **paths))
    (tmp_path / "dog.pb").write_bytes(mediapipe(rgb, audio))
    done = convert_features(features=str(tmp_path / "*.pb"), out=str(tmp_path / "o"), num_classes=3)
    assert (done.feature_sizes, done.cut_frames) == ({"rgb": 2, "audio": 1}, 2)
    batch = read(tmp_path / "o", ("rgb", "audio"), (2, 1), frame_level=True, num_classes=3)
    assert batch.video_ids.tolist() == [b"dog", b"cat one"]
    assert batch.labels[1].tolist() == [False, False, True]
    assert batch.num_frames.tolist() == [2, 2]
    np.testing.assert_allclose(batch.features[0, 0], [0.5, -0.5, 0.25], atol=2 / 255)


def test_mediapipe_records_in_one_file(tmp_path):
    from yt8m_ensemble.data import write_records

    messages = [mediapipe([[0.5]], [[0.5]], id=[name]) for name in (b"x", b"y")]
    write_records(str(tmp_path / "m.tfrecord"), messages)
    done = convert_features(features=str(tmp_path / "m.tfrecord"), out=str(tmp_path / "o"))
    assert done.videos == 2


def test_parquet_of_both_levels(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    means = pa.table({"id": ["a", "b"], "labels": [[1, 2], None], "m": [[1.0, 2.0], [3.0, 4.0]]})
    frames = pa.table({"id": [b"a", b"b"], "f": [[[1.0, 2.0], [0.0, 1.0]], [[-1.0, -2.0]]]})
    pq.write_table(means, str(tmp_path / "means.parquet"))
    pq.write_table(frames, str(tmp_path / "frames.parquet"))
    for name, level in [("means", "video"), ("frames", "frame")]:
        done = convert_features(
            features=str(tmp_path / f"{name}.parquet"), out=str(tmp_path / name), num_classes=3
        )
        assert (done.videos, done.level) == (2, level)
    batch = read(tmp_path / "means", ("m",), (2,), frame_level=False, num_classes=3)
    assert batch.features.tolist() == [[1, 2], [3, 4]]
    assert batch.labels.tolist() == [[False, True, True], [False] * 3]
    batch = read(tmp_path / "frames", ("f",), (2,), frame_level=True, num_classes=3)
    assert batch.num_frames.tolist() == [2, 1]
    np.testing.assert_allclose(batch.features[0, :2], [[1, 2], [0, 1]], atol=2 / 255)


BAD_COLUMNS: dict[str, list[Any]] = {
    "ragged": [[[1.0, 2.0], [3.0]]],
    "ragged-even": [[[1.0, 2.0, 3.0], [4.0]]],
    "empty": [[]],
    "empty-frames": [[[], []]],
    "null": [None],
    "null-inside": [[None]],
    "text": [["x"]],
    "text-frames": [[["x"], ["y"]]],
    "number": [1.0],
}


@pytest.mark.parametrize("column", BAD_COLUMNS.values(), ids=BAD_COLUMNS)
def test_parquet_columns_that_are_no_vectors(tmp_path, column):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": ["a"], "f": column}), str(tmp_path / "x.parquet"))
    with pytest.raises(DataError) as caught:
        convert_features(features=str(tmp_path / "x.parquet"), out=str(tmp_path / "o"))
    assert caught.value.path == str(tmp_path / "x.parquet")


def test_parquet_without_ids(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"name": ["a"], "f": [[1.0]]}), str(tmp_path / "x.parquet"))
    with pytest.raises(DataError, match=r"a column `id` .* its columns are name, f") as caught:
        convert_features(features=str(tmp_path / "x.parquet"), out=str(tmp_path / "o"))
    assert caught.value.found == ("name", "f")


def test_parquet_with_a_video_that_has_no_name(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.table({"id": ["a", None], "f": [[1.0], [2.0]]})
    pq.write_table(table, str(tmp_path / "x.parquet"))
    with pytest.raises(DataError, match="holds None, expected text"):
        convert_features(features=str(tmp_path / "x.parquet"), out=str(tmp_path / "o"))


def test_quantised_means_are_dequantised(tmp_path):
    means = np.array([[0, 255]], np.uint8)
    npz = save(tmp_path / "own.npz", video_ids=np.array([b"a"]), m=means)
    convert_features(features=npz, out=str(tmp_path / "o"))
    batch = read(tmp_path / "o", ("m",), (2,), frame_level=False)
    np.testing.assert_array_equal(batch.features, dequantize(means))


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "x.parquet").touch()
    with pytest.raises(MissingDependencyError, match="pip install") as caught:
        convert_features(features=str(tmp_path / "x.parquet"), out=str(tmp_path / "o"))
    assert caught.value.package == "pyarrow"


IDS = {"video_ids": np.array([b"a", b"b"])}
BAD_NPZ = {
    "no-ids": ({"m": np.zeros((2, 3))}, "must hold text `video_ids`"),
    "numbers-as-ids": ({"video_ids": np.arange(2), "m": np.zeros((2, 3))}, "text `video_ids`"),
    "no-feature": (IDS, "at least one feature array"),
    "rows": ({**IDS, "m": np.zeros((3, 3))}, "'m' in '{path}' has shape (3, 3), expected (2, val"),
    "cube": ({**IDS, "m": np.zeros((2, 3, 4))}, "has shape (2, 3, 4)"),
    "labels": ({**IDS, "m": np.zeros((2, 3)), "labels": np.zeros((2, 4))}, "expected bool"),
    "bounds": (
        {**IDS, "f": np.zeros((4, 3)), "frames_indptr": np.array([0, 4])},
        "`frames_indptr` in '{path}' must rise from 0 in 3 steps",
    ),
    "nan": ({**IDS, "m": np.full((2, 3), np.nan)}, "Video 'a' in '{path}' has a nan"),
    "text": ({**IDS, "m": np.full((2, 3), "x")}, "has a feature that is no number"),
    "no-frame": (
        {**IDS, "f": np.zeros((4, 3)), "frames_indptr": np.array([0, 4, 4])},
        "Video 'b' in '{path}' has features of 0 to 0 frames",
    ),
    "label": (
        {**IDS, "m": np.zeros((2, 3)), "labels": np.eye(2, 9, 7, dtype=bool)},
        "Video 'a' in '{path}' has label 7, but there are 5 classes. Set `--num-classes`",
    ),
}


@pytest.mark.parametrize(("arrays", "words"), BAD_NPZ.values(), ids=BAD_NPZ)
def test_a_bad_npz_is_named_and_leaves_nothing(tmp_path, arrays, words):
    path = save(tmp_path / "own.npz", **arrays)
    with pytest.raises(DataError) as caught:
        convert_features(features=path, out=str(tmp_path / "o"), num_classes=5)
    assert words.replace("{path}", path) in str(caught.value)
    assert caught.value.path == path
    assert [p.name for p in tmp_path.iterdir()] == ["own.npz"]


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".pb", ".tfrecord"])
def test_files_that_are_not_what_their_ending_says(tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"PK\x03\x04 nothing like it, but long enough for any header")
    with pytest.raises(DataError, match="is no whole") as caught:
        convert_features(features=str(path), out=str(tmp_path / "o"))
    assert caught.value.path == str(path)


def test_mediapipe_files_without_its_features(tmp_path):
    (tmp_path / "x.pb").write_bytes(make_frames(0))
    with pytest.raises(DataError, match=r"none of MediaPipe's features .* it holds audio, rgb"):
        convert_features(features=str(tmp_path / "x.pb"), out=str(tmp_path / "o"))
    (tmp_path / "x.pb").write_bytes(mediapipe([[0.5], [0.5, 0.5]], [[0.5], [0.5]]))
    with pytest.raises(DataError, match="one float list of equal length a frame"):
        convert_features(features=str(tmp_path / "x.pb"), out=str(tmp_path / "o"))


def test_features_of_different_lengths_or_of_different_files(tmp_path):
    (tmp_path / "x.pb").write_bytes(mediapipe([[0.5]] * 9, [[0.5]] * 3))
    with pytest.raises(DataError, match=r"Video 'x' .* has features of 3 to 9 frames"):
        convert_features(features=str(tmp_path / "x.pb"), out=str(tmp_path / "o"))
    (tmp_path / "x.pb").write_bytes(mediapipe([[0.5]], [[0.5]]))
    (tmp_path / "y.pb").write_bytes(mediapipe([[0.5, 0.5]], [[0.5]]))
    with pytest.raises(DataError, match=r"Video 'y' .* has features .*, the videos before it"):
        convert_features(features=str(tmp_path / "*.pb"), out=str(tmp_path / "o"))


def test_shards_of_500(tmp_path):
    ids = np.array([f"v{i}" for i in range(501)])
    npz = save(tmp_path / "own.npz", video_ids=ids, m=np.zeros((501, 1)))
    done = convert_features(features=npz, out=str(tmp_path / "o"), prefix="mine")
    assert done.files == ("mine0000.tfrecord", "mine0001.tfrecord")
    assert read_record_info(str(tmp_path / "o" / "mine0001.tfrecord")).video_id == b"v500"


def test_no_video_at_all(tmp_path):
    npz = save(tmp_path / "own.npz", video_ids=np.array([], "S1"), m=np.zeros((0, 1)))
    with pytest.raises(DataError, match="holds no video"):
        convert_features(features=npz, out=str(tmp_path / "o"))


def test_outputs_are_kept_without_force_and_dry_runs_write_nothing(tmp_path):
    (tmp_path / "in").mkdir()
    write_shards(tmp_path / "in", make_means)
    write_json(tmp_path / "p", GOOD)
    npz = save(tmp_path / "own.npz", **IDS, m=np.zeros((2, 3)))
    out = tmp_path / "out"
    calls = [
        lambda **o: convert_predictions(predictions=str(tmp_path / "p"), out=str(out), **o),
        lambda **o: convert_features(features=npz, out=str(out), **o),
        lambda **o: convert_records(records=str(tmp_path / "in" / "*"), out=str(out), **o),
    ]
    plans = [
        plan_convert_predictions(predictions=str(tmp_path / "p"), out=str(out)),
        plan_convert_features(features=npz, out=str(out)),
        plan_convert_records(records=str(tmp_path / "in" / "*"), out=str(out)),
    ]
    assert [planned.videos for planned in plans] == [0, 0, 0]
    assert not out.exists()
    out.write_text("mine")
    for call in calls:
        with pytest.raises(OutputExistsError, match="--force"):
            call()
    assert out.read_text() == "mine"


@pytest.mark.parametrize("kind", ["predictions", "features", "records"])
def test_the_commands(tmp_path, kind):
    (tmp_path / "in").mkdir()
    write_shards(tmp_path / "in", make_means, counts=(1,))
    write_json(tmp_path / "in" / "p", GOOD)
    save(tmp_path / "in" / "own.npz", video_ids=np.array([b"a"]), m=np.zeros((1, 3)))
    source = {"predictions": "p", "features": "own.npz", "records": "part0.tfrecord"}[kind]
    arguments = ["convert", kind, str(tmp_path / "in" / source), str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["videos"] == 1
    assert (tmp_path / "out").exists()
