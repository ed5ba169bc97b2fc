import csv
from typing import Any

import numpy as np
import pytest

from tests.builders.models import small_flags, write_train_dir
from tests.builders.records import write_video_records
from tests.csv_scores import largest_difference
from yt8m_ensemble.data import encode_means, write_records
from yt8m_ensemble.errors import DataError, ModelError, OutputExistsError, ShapeError, UsageError
from yt8m_ensemble.loading.model import open_model
from yt8m_ensemble.steps.predict import predict_scores, write_scores
from yt8m_ensemble.storage import open_predictions
from yt8m_ensemble.values import Predictions

pytestmark = pytest.mark.tf


@pytest.fixture
def setting(tmp_path):
    for seed, name in enumerate("ab"):
        write_train_dir(tmp_path / name, small_flags("LogisticModel"), seed=seed)
    write_video_records(tmp_path / "r0.tfrecord", seed=0)
    write_video_records(tmp_path / "r1.tfrecord", seed=1, first=10)
    return tmp_path


def test_cache_and_csv_hold_the_same_scores(setting):
    csv, cache = setting / "out.csv", setting / "out.h5"
    result = write_scores(
        models=[str(setting / "a")],
        data=str(setting / "r0.tfrecord"),
        csv=str(csv),
        cache=str(cache),
        batch_size=4,
    )
    assert (result.members, result.num_videos) == (("a",), 10)
    with open_predictions(str(cache)) as found:
        assert found.members == ("a",)
        assert largest_difference(csv, found.video_ids, found.scores("a")) < 1e-6
        assert found.labels is not None
        assert found.labels.num_positives > 0
    assert len(csv.read_text().splitlines()) == 11


def test_two_models_are_cached_in_one_pass(setting):
    cache = setting / "out.h5"
    data = f"{setting}/r0.tfrecord,{setting}/r1.tfrecord"
    predict_scores(
        models=[f"x={setting}/a", f"y={setting}/b"], data=data, cache=str(cache), batch_size=3
    )
    with open_predictions(str(cache)) as found:
        assert found.members == ("x", "y")
        both = np.stack([found.scores("x"), found.scores("y")])
    assert both.shape == (2, 20, 4)
    assert not np.array_equal(both[0], both[1])


def test_outputs_that_exist_are_left_alone(setting):
    csv = setting / "out.csv"
    csv.write_text("precious")
    models, data = [str(setting / "a")], f"{setting}/r0.tfrecord"
    with pytest.raises(OutputExistsError, match="`--force`"):
        predict_scores(models=models, data=data, csv=str(csv))
    assert csv.read_text() == "precious"
    predict_scores(models=models, data=data, csv=str(csv), force=True)
    assert csv.read_text().startswith("VideoId")


def test_a_bad_record_leaves_no_output(setting):
    bad = setting / "bad.tfrecord"
    content = (setting / "r1.tfrecord").read_bytes()
    bad.write_bytes(content[:-3])
    with pytest.raises(DataError) as caught:
        predict_scores(
            models=[str(setting / "a")],
            data=f"{setting}/r0.tfrecord,{bad}",
            csv=str(setting / "out.csv"),
            batch_size=4,
        )
    assert caught.value.path == str(bad)
    assert not list(setting.glob("*.csv*"))
    assert not list(setting.glob(".*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, "Nothing to write"), ({"csv": "x.csv"}, "A CSV holds the scores of one model")],
)
def test_options_that_make_no_sense_are_refused(setting, options, message):
    with pytest.raises(UsageError, match=message):
        write_scores(models=[f"{setting}/a", f"{setting}/b"], data="x", **options)


def test_without_an_output_the_scores_come_in_memory(setting):
    arguments: dict[str, Any] = {
        "models": [f"{setting}/a", f"{setting}/b"],
        "data": f"{setting}/r*.tfrecord",
        "batch_size": 4,
    }
    found = predict_scores(**arguments)
    assert isinstance(found, Predictions)
    write_scores(**arguments, cache=f"{setting}/out.h5")
    with open_predictions(f"{setting}/out.h5") as cached:
        assert found.members == cached.members
        assert found.video_ids.tolist() == cached.video_ids[:].tolist()
        for name in found.members:
            np.testing.assert_array_equal(found.of(name), cached.scores(name))
        assert cached.labels is not None
        np.testing.assert_array_equal(found.labels.to_dense(), cached.labels.to_dense())


def test_an_open_model_scores_an_array(setting):
    with open_model(f"{setting}/a") as model:
        features = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
        scores = model.predict(features)
        assert scores.shape == (3, 4)
        assert scores.dtype == np.float32
        one = model.predict(features[1:2])
        np.testing.assert_allclose(one, scores[1:2], atol=1e-6)
        with pytest.raises(ShapeError, match=r"takes features of shape \(B, 8\), got \(3, 7\)"):
            model.predict(features[:, :7])


def test_frames_in_memory_score_as_their_records_do(setting):
    write_train_dir(setting / "frames", small_flags("NetVLADModelLF"))
    frames = np.random.default_rng(0).normal(size=(2, 3, 8)).astype(np.float32)
    counts = np.array([2, 3])
    with open_model(f"{setting}/frames") as model:
        padded = model.predict(frames, counts)
        # What lies past the true frames is padding.
        np.testing.assert_allclose(model.predict(frames[:1, :2])[0], padded[0], atol=1e-6)
        with pytest.raises(ShapeError, match="at most 300 frames"):
            model.predict(np.zeros((1, 301, 8), np.float32))


def test_models_of_different_classes_are_refused(setting):
    write_train_dir(setting / "c", small_flags("LogisticModel", num_classes=5))
    with pytest.raises(ModelError, match=r"'a' and 'c' .*\(4, 5\)"):
        predict_scores(
            models=[f"{setting}/a", f"{setting}/c"],
            data=f"{setting}/r0.tfrecord",
            cache=f"{setting}/out.h5",
        )


@pytest.mark.parametrize("out", ["cache", "csv"])
def test_a_video_that_comes_twice_is_refused(setting, out):
    write_video_records(setting / "r1.tfrecord", seed=1, first=5)
    path = setting / "out.h5"
    outputs: dict[str, Any] = {out: str(path)}
    with pytest.raises(DataError, match=r"Video 'v005' comes twice, in .*r0.* and .*r1") as twice:
        predict_scores(models=[f"{setting}/a"], data=f"{setting}/r*.tfrecord", **outputs)
    assert twice.value.num_repeated == 5
    assert not path.exists()


def test_ids_that_a_csv_would_forge_rows_of_read_back(setting):
    ids = [b'a,"b', b"c\nVideoId,x", b" d"]
    records = [
        encode_means(i, [0], {"mean_rgb": np.ones(6), "mean_audio": np.ones(2)}) for i in ids
    ]
    write_records(str(setting / "odd.tfrecord"), records)
    path = setting / "out.csv"
    predict_scores(models=[f"{setting}/a"], data=f"{setting}/odd.tfrecord", csv=str(path))
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0].encode() for row in rows[1:]] == ids
    write_records(str(setting / "bad.tfrecord"), [records[0].replace(b'a,"b', b"a\xff\xfeb")])
    with pytest.raises(DataError, match=r"b'a\\xff\\xfeb' in '.*bad.tfrecord' is not UTF-8"):
        predict_scores(
            models=[f"{setting}/a"], data=f"{setting}/bad.tfrecord", csv=str(path), force=True
        )
