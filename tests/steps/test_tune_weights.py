"""The step and the command `tune-weights`, from prediction files to a mixture-weights file."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from tests.tuning.builders import make_predictions
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.cli.tune_weights import METHODS
from yt8m_ensemble.errors import AlignmentError, OutputExistsError, PredictionsError
from yt8m_ensemble.metrics import global_average_precision
from yt8m_ensemble.mixing import mix
from yt8m_ensemble.steps.tune_weights import tune_weights
from yt8m_ensemble.storage import PredictionsWriter
from yt8m_ensemble.tuning import TUNERS, split_videos
from yt8m_ensemble.values import MixtureWeights

SCORES, LABELS = make_predictions()
VIDEO_IDS = np.array([b"video%03d" % n for n in range(len(LABELS))])


def write(path, members, *, video_ids=VIDEO_IDS, labels=LABELS, num_classes=60):
    """A prediction file of some of the members."""
    names = ["abc"[m] for m in members]
    with PredictionsWriter(
        str(path), members=names, digests=names, num_classes=num_classes
    ) as writer:
        writer.append(video_ids, SCORES[list(members), :, :num_classes], labels)
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
    assert "Out of fold, tuned weights change GAP by" in done.stderr
    again = CliRunner().invoke(cli, arguments)
    assert isinstance(again.exception, OutputExistsError)


def test_the_command_lists_every_tuner():
    assert tuple(TUNERS) == METHODS


def test_bad_predictions_are_named(tmp_path, predictions):
    with pytest.raises(PredictionsError, match="Member 'c' is listed twice") as twice:
        tune_weights(predictions=[*predictions, predictions[1]])
    assert twice.value.facts == {"members": ["c"]}
    others = write(tmp_path / "others.h5", [2], video_ids=np.roll(VIDEO_IDS, 1))
    with pytest.raises(AlignmentError, match="200 and 200 videos, 200 in both"):
        tune_weights(predictions=[predictions[0], others])
    fewer = write(tmp_path / "fewer.h5", [2], labels=LABELS[:, :50], num_classes=50)
    with pytest.raises(PredictionsError, match=r"scores 60 classes, .* 50"):
        tune_weights(predictions=[predictions[0], fewer])
    unlabeled = write(tmp_path / "test.h5", [2], labels=None)
    with pytest.raises(PredictionsError, match="holds no labels"):
        tune_weights(predictions=[unlabeled])
    writer = PredictionsWriter(str(tmp_path / "part.h5"), members="c", digests="c", num_classes=60)
    with pytest.raises(InterruptedError), writer:
        raise InterruptedError
    with pytest.raises(PredictionsError, match="unfinished: 0 shards, 0 videos"):
        tune_weights(predictions=[str(tmp_path / "part.h5")])
