"""The step and the command `tune-weights`, from prediction files to a mixture-weights file."""

import json
from typing import Any, get_args

import numpy as np
import pytest
from click.testing import CliRunner

from tests.builders.predictions import make_predictions
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.errors import AlignmentError, OutputExistsError, PredictionsError, UsageError
from yt8m_ensemble.metrics import global_average_precision
from yt8m_ensemble.mixing import mix
from yt8m_ensemble.options.choices import Method
from yt8m_ensemble.steps.tune_weights import tune_weights
from yt8m_ensemble.storage import PredictionsWriter
from yt8m_ensemble.tuning import TUNERS, split_videos
from yt8m_ensemble.values import MixtureWeights

SCORES, LABELS = make_predictions()
VIDEO_IDS = np.array([b"video%03d" % n for n in range(len(LABELS))])


def write(path, members, *, rows=slice(None), labels=LABELS, num_classes=60, top_k=None):
    """A prediction file of some of the members and videos."""
    names = ["abc"[m] for m in members]
    with PredictionsWriter(
        str(path), members=names, digests=names, num_classes=num_classes, top_k=top_k
    ) as writer:
        scores = SCORES[list(members), :, :num_classes][:, rows]
        writer.append(VIDEO_IDS[rows], scores, None if labels is None else labels[rows])
        writer.end_shard("all")
    return str(path)


@pytest.fixture
def predictions(tmp_path):
    return [write(tmp_path / "ab.h5", [0, 1]), write(tmp_path / "c.h5", [2])]


def test_reported_gaps_are_those_of_the_packaged_mixture(tmp_path, predictions):
    out = str(tmp_path / "w.json")
    done = tune_weights(predictions=predictions, out=out, step=0.1, holdout=0.4, seed=7)
    assert done.result is not None
    weights = MixtureWeights.parse((tmp_path / "w.json").read_text(), path=out)
    assert weights == done.result.weights
    assert weights.names == ("a", "b", "c")
    tuned_on, held_out = split_videos(VIDEO_IDS, fraction=0.4, seed=7)
    for rows, gap in ((tuned_on, done.result.gap_in_sample), (held_out, done.result.gap_held_out)):
        mixed = mix(list(SCORES[:, rows]), weights)
        assert gap == pytest.approx(global_average_precision(mixed, LABELS[rows]), abs=1e-12)
    assert weights.details["gap_held_out"] == done.result.gap_held_out
    assert weights.details["seed"] == 7
    assert set(weights.details["predictions"]) == set(predictions)
    assert weights.details["gap_out_of_fold"] == done.result.gap_out_of_fold


def test_the_command_prints_json_and_writes_once(tmp_path, predictions):
    arguments = ["tune-weights", "--method", "nelder-mead", "--out", str(tmp_path / "w.json")]
    for path in predictions:
        arguments += ["--predictions", path]
    dry = CliRunner().invoke(cli, [*arguments, "--dry-run"])
    assert dry.exit_code == 0
    assert not (tmp_path / "w.json").exists()
    done = CliRunner().invoke(cli, [*arguments, "--json"])
    assert json.loads(done.stdout)["result"]["method"] == "nelder-mead"
    assert "best single" in done.stderr
    assert "Out of fold, GAP of tuned weights" in done.stderr
    again = CliRunner().invoke(cli, arguments)
    assert isinstance(again.exception, OutputExistsError)


@pytest.mark.parametrize("members", [[0, 1], [0, 1, 2]])
def test_a_picture_is_drawn(tmp_path, members):
    plot = tmp_path / "w.png"
    path = write(tmp_path / "p.h5", members)
    tune_weights(predictions=[path], method="coordinate", folds=0, plot=str(plot))
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_command_lists_every_tuner():
    assert tuple(TUNERS) == get_args(Method)


def test_videos_in_another_order_can_be_intersected(tmp_path, predictions):
    plain = tune_weights(predictions=predictions, method="coordinate", folds=0).result
    shuffled = write(tmp_path / "s.h5", [2], rows=np.random.default_rng(0).permutation(200))
    same = tune_weights(
        predictions=[predictions[0], shuffled], method="coordinate", folds=0, intersect=True
    ).result
    assert plain is not None
    assert same is not None
    assert same.weights.values == plain.weights.values
    assert same.gap_held_out == pytest.approx(plain.gap_held_out, abs=1e-12)
    half = write(tmp_path / "half.h5", [2], rows=np.arange(0, 100))
    result = tune_weights(predictions=[predictions[0], half], folds=0, step=0.5, intersect=True)
    assert result.result is not None
    assert result.result.judgements[0].num_videos < 100


@pytest.mark.slow
def test_truncated_predictions_carry_a_certificate(tmp_path):
    options: dict[str, Any] = {"method": "coordinate", "folds": 0}
    dense = tune_weights(predictions=[write(tmp_path / "d.h5", [0, 1, 2])], **options)
    assert dense.certificate is None
    few = tune_weights(predictions=[write(tmp_path / "k.h5", [0, 1, 2], top_k=25)], **options)
    assert few.certificate is not None
    assert few.result is not None
    assert few.result.gap_held_out is not None
    assert few.certificate.low <= few.result.gap_held_out <= few.certificate.high
    assert "Cache more with" in few.certificate.sentence
    shuffled = write(tmp_path / "s.h5", [0, 1, 2], rows=np.arange(200)[::-1], top_k=25)
    same = tune_weights(predictions=[shuffled], intersect=True, **options)
    assert same.certificate == few.certificate
    mixed = [write(tmp_path / "a.h5", [0]), write(tmp_path / "bc.h5", [1, 2], top_k=60)]
    full = tune_weights(predictions=mixed, **options)
    assert full.certificate is not None
    assert "certified to 0.00000." in full.certificate.sentence


def test_bad_predictions_are_named(tmp_path, predictions):
    with pytest.raises(PredictionsError, match="Member 'c' is listed twice") as twice:
        tune_weights(predictions=[*predictions, predictions[1]])
    assert twice.value.details == {"members": ["c"]}
    others = write(tmp_path / "others.h5", [2], rows=np.roll(np.arange(200), 1))
    with pytest.raises(AlignmentError, match="200 and 200 videos, 200 in both"):
        tune_weights(predictions=[predictions[0], others])
    fewer = write(tmp_path / "fewer.h5", [2], labels=LABELS[:, :50], num_classes=50)
    with pytest.raises(PredictionsError, match=r"scores 60 classes, .* 50"):
        tune_weights(predictions=[predictions[0], fewer])
    first, second = (write(tmp_path / f"{n}.h5", [n], rows=np.arange(n, n + 2)) for n in (0, 2))
    with pytest.raises(AlignmentError, match="no video in common"):
        tune_weights(predictions=[first, second], intersect=True)
    unlabeled = write(tmp_path / "test.h5", [2], labels=None)
    with pytest.raises(PredictionsError, match="holds no labels"):
        tune_weights(predictions=[unlabeled])
    writer = PredictionsWriter(str(tmp_path / "part.h5"), members="c", digests="c", num_classes=60)
    with pytest.raises(InterruptedError), writer:
        raise InterruptedError
    with pytest.raises(PredictionsError, match=r"is not finished: .*holds 0 record files"):
        tune_weights(predictions=[str(tmp_path / "part.h5")])


def test_a_temperature_is_written_with_a_picture_and_nothing_else_changes(tmp_path, predictions):
    given: dict[str, Any] = {"predictions": predictions, "folds": 2, "bootstrap": 50}
    out, picture = tmp_path / "w.json", tmp_path / "r.png"
    found = tune_weights(**given, calibrated=True, out=str(out), reliability=str(picture))
    assert found.calibration is not None
    written = MixtureWeights.parse(out.read_text(), path=str(out))
    assert written.temperature == found.calibration.weights.temperature != 1
    assert picture.read_bytes().startswith(b"\x89PNG")
    plain = tune_weights(**given)
    assert plain.calibration is None
    assert plain.result.weights.temperature == 1
    assert plain.result.weights.values == found.result.weights.values
    with pytest.raises(UsageError, match="Leave `--space` at logit"):
        tune_weights(**given, calibrated=True, space="auto")
    with pytest.raises(UsageError, match="Set `--calibrated`"):
        tune_weights(**given, reliability=str(picture))
    truncated = write(tmp_path / "top.h5", [0, 1], top_k=20)
    with pytest.raises(PredictionsError, match="`--calibrated` takes all scores"):
        tune_weights(predictions=[truncated], calibrated=True)


def test_thresholds_are_written_and_judged(tmp_path, predictions):
    path = tmp_path / "t.json"
    done = tune_weights(
        predictions=predictions, thresholds=str(path), objective="precision:0.8", holdout=0.4
    )
    assert done.thresholds is not None
    assert json.loads(path.read_text())["thresholds"] == [*done.thresholds.values]
    assert len(done.thresholds.values) == 60
    assert [found.videos for found in done.thresholds.labellings] == ["out of fold", "held out"]
    with pytest.raises(OutputExistsError):
        tune_weights(predictions=predictions, thresholds=str(path))
    with pytest.raises(UsageError, match="`--objective` is 'f3'"):
        tune_weights(predictions=predictions, objective="f3")


@pytest.mark.tf
def test_videos_that_members_were_trained_on_are_counted(tmp_path, predictions):
    from yt8m_ensemble.data import encode_means, write_records

    means = {"mean_rgb": np.zeros(3, np.float32)}
    trained = [*VIDEO_IDS[5:12].tolist(), b"another"]
    write_records(str(tmp_path / "train.tfrecord"), [encode_means(i, [1], means) for i in trained])
    words = ["tune-weights", *(f"--predictions={path}" for path in predictions)]
    told = CliRunner().invoke(cli, [*words, "--train-data", str(tmp_path / "train.tfrecord")])
    assert "Careful: 7 of these videos are among the training records" in told.output
    assert "Careful" not in CliRunner().invoke(cli, words).output
