"""`eval` and `predict` from the command line: what is printed, which usage is wrong."""

import json

import pytest
from click.testing import CliRunner

from tests.builders.models import small_flags, write_train_dir
from tests.builders.records import write_video_records
from yt8m_ensemble.cli.root import cli


def invoke(*arguments):
    return CliRunner().invoke(cli, arguments)


@pytest.fixture
def setting(tmp_path):
    for step in (1, 2):
        write_train_dir(tmp_path / "run", small_flags("LogisticModel"), seed=step, step=step)
    for number in range(2):
        write_video_records(tmp_path / f"r{number}", seed=number, first=100 * number)
    return tmp_path


@pytest.mark.tf
def test_eval_prints_a_row_a_checkpoint_and_the_best(setting):
    done = invoke(
        "eval", "--model", f"{setting}/run", "--all-checkpoints", "--data", f"{setting}/r?",
        "--sample-shards", "1", "--seed", "3", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [evaluation["global_step"] for evaluation in found["evaluations"]] == [1, 2]
    assert found["best"] in {f"{setting}/run@1", f"{setting}/run@2"}
    assert len(found["record_files"]) == 1
    for evaluation in found["evaluations"]:
        assert f"{evaluation['report']['metrics']['gap']:.5f}" in done.stderr


@pytest.mark.tf
def test_eval_that_watches_tells_each_evaluation(setting):
    done = invoke(
        "eval", "--model", f"{setting}/run", "--data", f"{setting}/r?",
        "--watch", "--stop-after-idle", "0",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert f"{setting}/run@2: GAP 0." in done.stderr


@pytest.mark.tf
def test_a_share_is_predicted_and_its_repetition_told(setting):
    command = (
        "predict", "--model", f"{setting}/run", "--data", f"{setting}/r?", "--shard", "1/2",
        "--cache", f"{setting}/part.h5", "--cache-top-k", "2",
    )  # fmt: skip
    first, again = invoke(*command), invoke(*command)
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert first.stdout.splitlines()[0] == "10 videos, 1 members: run"
    assert first.stdout.splitlines()[1].endswith("run/model.ckpt-2")
    assert "Scores of 10 videos were there from an earlier run." in again.stdout


@pytest.mark.parametrize("share", ["2/2", "1", "-1/2", "1/0", "a/b"])
def test_a_share_that_cannot_be_is_wrong_usage(share):
    done = invoke("predict", "--model", "m", "--data", "d", "--cache", "c", f"--shard={share}")
    assert done.exit_code == 2
    assert f"'{share}' is no share I/N with I from 0 to N - 1" in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--cache", "c.h5", "--num-workers", "2"),
        ("--runner", "beam", "--csv", "c.csv"),
        ("--runner", "beam", "--cache", "c.h5", "--shard", "0/2"),
    ],
)
def test_options_of_beam_that_do_not_fit_are_refused(options):
    done = invoke("predict", "--model", "m", "--data", "d", *options)
    assert type(done.exception).__name__ == "UsageError"
    assert "`--runner beam`" in str(done.exception)
