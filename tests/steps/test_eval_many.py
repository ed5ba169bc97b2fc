"""`eval` of several checkpoints: chosen, sampled, waited for, written for TensorBoard."""

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tensorflow as tf

from tests.builders.models import small_flags, write_train_dir
from tests.builders.records import write_video_records
from yt8m_ensemble.errors import CheckpointNotFoundError, TensorMismatchError, UsageError
from yt8m_ensemble.scoring import evaluation
from yt8m_ensemble.scoring.targets import Watch
from yt8m_ensemble.steps.eval import evaluate_model, evaluate_models

if TYPE_CHECKING:
    from yt8m_ensemble.scoring.evaluation import Evaluation

pytestmark = pytest.mark.tf

FLAGS = small_flags("LogisticModel")


@pytest.fixture
def setting(tmp_path):
    for step in (1, 3, 10):
        write_train_dir(tmp_path / "run", FLAGS, seed=step, step=step)
    for number in range(3):
        write_video_records(tmp_path / f"r{number}.tfrecord", seed=number)
    return tmp_path


def run(setting, **options):
    return evaluate_models(
        **{"models": [f"{setting}/run"], "data": f"{setting}/r*.tfrecord", **options}
    )


@pytest.mark.parametrize(
    ("options", "found_steps"),
    [
        ({}, [10]),
        ({"all_checkpoints": True}, [1, 3, 10]),
        ({"checkpoints": ["3", "1"]}, [3, 1]),
    ],
    ids=["latest", "all", "listed"],
)
def test_the_checkpoints_chosen_are_evaluated_as_if_alone(setting, options, found_steps):
    found = run(setting, **options)
    assert [result.global_step for result in found.evaluations] == found_steps
    for step, result in zip(found_steps, found.evaluations, strict=True):
        alone = evaluate_model(model=f"{setting}/run@{step}", data=f"{setting}/r*.tfrecord")
        assert result.report == alone.report
        assert result.digest == alone.digest
    gaps = {e.path: e.report.metrics.gap for e in found.evaluations}
    assert len(set(gaps.values())) == len(found_steps)
    assert found.best == max(gaps, key=gaps.__getitem__)


def test_graph_and_reader_are_made_once_for_a_train_directory(setting, monkeypatch):
    made = []

    def counted(name):
        original = getattr(evaluation, name)

        def make(*arguments, **options):
            made.append(name)
            return original(*arguments, **options)

        return make

    for name in ("start_runner", "scoring_reader"):
        monkeypatch.setattr(evaluation, name, counted(name))
    run(setting, all_checkpoints=True)
    assert sorted(made) == ["scoring_reader", "start_runner"]


def test_models_of_different_architectures_are_evaluated_in_one_call(setting):
    write_train_dir(setting / "moe", small_flags("MoeModel"))
    found = run(setting, models=[f"{setting}/run", f"{setting}/moe"])
    assert [e.architecture for e in found.evaluations] == ["LogisticModel", "MoeModel"]
    alone = evaluate_model(model=f"{setting}/moe", data=f"{setting}/r*.tfrecord")
    assert found.evaluations[1].report == alone.report


def test_a_sample_of_record_files_is_drawn_by_its_seed(setting):
    first, again, other = (run(setting, sample=1, seed=seed) for seed in (0, 0, 1))
    assert len(first.record_files) == 1
    assert first == again
    assert first.record_files != other.record_files
    assert first.evaluations[0].report.metrics.num_videos == 10


class FakeTime:
    """A clock that only sleeping advances; a checkpoint may appear during a sleep."""

    def __init__(self, appearing):
        self.now, self.slept, self.appearing = 0.0, [], dict(appearing)

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds
        for when in [when for when in self.appearing if when <= self.now]:
            self.appearing.pop(when)()

    def use(self, monkeypatch):
        monkeypatch.setattr(
            "yt8m_ensemble.steps.eval.Watch",
            lambda poll_s, idle_s: Watch(poll_s, idle_s, lambda: self.now, self.sleep),
        )


def test_watching_evaluates_what_appears_and_stops_when_idle(setting, monkeypatch):
    time = FakeTime({25: lambda: write_train_dir(setting / "run", FLAGS, seed=5, step=20)})
    time.use(monkeypatch)
    told: list[Evaluation] = []
    found = run(
        setting, watch=True, poll_interval=10, stop_after_idle=32, on_evaluation=told.append
    )
    assert [result.global_step for result in found.evaluations] == [10, 20]
    assert told == list(found.evaluations)
    # Seen at 30; then idle until 62.
    assert time.slept == [10, 10, 10, 10, 10, 10, 2]


def test_watching_waits_for_the_first_checkpoint(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    write_video_records(tmp_path / "r.tfrecord")
    time = FakeTime({10: lambda: write_train_dir(tmp_path / "run", FLAGS, step=7)})
    time.use(monkeypatch)
    found = run(tmp_path, watch=True, poll_interval=10, stop_after_idle=20)
    assert [result.global_step for result in found.evaluations] == [7]


def test_watching_that_sees_nothing_finds_nothing(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    write_video_records(tmp_path / "r.tfrecord")
    FakeTime({}).use(monkeypatch)
    found = run(tmp_path, watch=True, stop_after_idle=20)
    assert (found.evaluations, found.best) == ((), None)


def scalars(directory):
    (path,) = directory.glob("events.*")
    return {
        (event.step, value.tag): value.simple_value
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }


def test_scalars_have_the_starter_codes_names(setting):
    found = run(setting, checkpoints=["1", "10"], tensorboard=f"{setting}/board")
    written = scalars(setting / "board")
    assert len(written) == 10
    for result in found.evaluations:
        metrics, step = result.report.metrics, result.global_step
        for tag, value in [
            ("Epoch/Eval_Avg_Hit@1", metrics.hit_at_one),
            ("Epoch/Eval_Avg_Perr", metrics.perr),
            ("Epoch/Eval_Avg_Loss", result.report.loss),
            ("Epoch/Eval_MAP", metrics.mean_average_precision),
            ("Epoch/Eval_GAP", metrics.gap),
        ]:
            assert written[step, tag] == np.float32(value)


def test_several_models_get_a_folder_each(setting):
    write_train_dir(setting / "moe", small_flags("MoeModel"), step=2)
    run(setting, models=[f"{setting}/run", f"{setting}/moe"], tensorboard=f"{setting}/board")
    assert {step for step, _ in scalars(setting / "board/run")} == {10}
    assert {step for step, _ in scalars(setting / "board/moe")} == {2}


@pytest.mark.parametrize(
    ("options", "message", "fact"),
    [
        ({"checkpoints": ["1"], "all_checkpoints": True}, "one train directory", "checkpoints"),
        ({"checkpoints": ["1"], "models": ["a", "b"]}, "one train directory", "models"),
        ({"checkpoints": ["1", "x"]}, "'1,x' are not steps", "checkpoints"),
        ({"models": ["r0.tfrecord"], "all_checkpoints": True}, "is no train directory", "model"),
        ({"models": ["r0.tfrecord"], "watch": True}, "is no train directory", "model"),
    ],
)
def test_options_that_contradict_each_other_are_refused(setting, options, message, fact):
    with pytest.raises(UsageError, match=message) as caught:
        run(setting, **options)
    assert fact in caught.value.details


def test_a_step_that_is_not_there_is_refused_before_any_work(setting):
    told: list[Evaluation] = []
    with pytest.raises(CheckpointNotFoundError, match=r"Steps found: 1, 3, 10") as caught:
        run(setting, checkpoints=["1", "2"], on_evaluation=told.append)
    assert (caught.value.step, told) == (2, [])


def test_all_checkpoints_of_an_empty_directory_are_refused(setting):
    (setting / "empty").mkdir()
    with pytest.raises(CheckpointNotFoundError, match="no finished"):
        run(setting, models=[f"{setting}/empty"], all_checkpoints=True)


def test_a_checkpoint_of_another_run_in_the_directory_is_refused(setting):
    write_train_dir(setting / "other", small_flags("LogisticModel", num_classes=5), step=11)
    for path in (setting / "other").glob("model.ckpt-11.*"):
        path.rename(setting / "run" / path.name)
    with pytest.raises(TensorMismatchError, match=r"in the graph but \(.*5.*Is it of another"):
        run(setting, all_checkpoints=True)
