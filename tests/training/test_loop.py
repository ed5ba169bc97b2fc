"""The loop around the step: what it leaves behind, how it resumes, when it stops."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.builders.models import FRAME, NUM_CLASSES, VIDEO, predictor
from tests.builders.records import write_learnable_records
from yt8m_ensemble.checkpoints import find_steps, open_checkpoint
from yt8m_ensemble.checkpoints.publication import recover_all
from yt8m_ensemble.data import read_batches
from yt8m_ensemble.errors import (
    AlignmentError,
    DataError,
    PredictionsError,
    TrainingError,
    UsageError,
)
from yt8m_ensemble.files import expand_globs
from yt8m_ensemble.graphs import load_meta_graph
from yt8m_ensemble.models import make_model, model_options
from yt8m_ensemble.options import TrainingOptions
from yt8m_ensemble.storage import PredictionsWriter
from yt8m_ensemble.training import train
from yt8m_ensemble.values import ModelFlags

pytestmark = pytest.mark.tf

SHORT = {"batch_size": 16, "learning_rate": 0.05, "log_steps": 1}


def flags_of(model="MoeModel", **options):
    made = make_model(model, options)
    features = FRAME if made.frame_level else VIDEO
    return ModelFlags(model, features, NUM_CLASSES, options=model_options(made))


def run(train_dir, glob, *, flags=None, progress=None, validation=None, **options):
    train_dir.mkdir(exist_ok=True)
    extra = {"progress": progress} if progress else {}
    return train(
        str(train_dir),
        expand_globs(glob, option="--train-data"),
        flags=flags or flags_of(),
        options=TrainingOptions(**{**SHORT, **options}),
        validation_paths=expand_globs(validation, option="--v") if validation else (),
        **extra,
    )


def scalars_of(train_dir):
    """Read every scalar back: {tag: {step: value}}."""
    found: dict[str, dict[int, float]] = {}
    for path in sorted(train_dir.glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def weights_of(checkpoint):
    with open_checkpoint(checkpoint.prefix) as source:
        return {name: np.array(source.read(name)) for name in source.specs()}


@pytest.fixture(scope="module")
def video_glob(tmp_path_factory):
    return write_learnable_records(tmp_path_factory.mktemp("video"))


@pytest.fixture(scope="module")
def frame_glob(tmp_path_factory):
    return write_learnable_records(tmp_path_factory.mktemp("frame"), videos=32, frame_level=True)


def test_a_run_leaves_the_starter_codes_files(tmp_path, video_glob):
    last = run(tmp_path, video_glob, num_epochs=2, save_steps=3)
    # 64 videos, twice, in batches of 16: 8 steps, the last of them saved though 8 % 3 != 0.
    assert last.global_step == 8
    assert find_steps(str(tmp_path)) == [3, 6, 8]
    state = (tmp_path / "checkpoint").read_text().splitlines()
    assert state[0] == 'model_checkpoint_path: "model.ckpt-8"'
    assert len(state) == 4
    graph = load_meta_graph(str(tmp_path / "model.ckpt-8.meta"))
    assert set(graph.variables) <= set(last.specs)
    scalars = scalars_of(tmp_path)
    assert {
        "model/Training_Hit@1", "model/Training_Perr", "model/Training_GAP",
        "global_step/Examples/Second", "label_loss", "reg_loss",
        "learning_rate",
    } <= set(scalars)  # fmt: skip
    assert sorted(scalars["label_loss"]) == list(range(1, 9))
    assert tf.train.load_checkpoint(last.prefix).get_tensor("global_step") == 8


def test_it_learns(tmp_path, video_glob):
    run(tmp_path, video_glob, num_epochs=15)
    losses = scalars_of(tmp_path)["label_loss"]
    assert losses[60] < 0.75 * losses[1]
    assert scalars_of(tmp_path)["model/Training_GAP"][60] > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("model", ["MoeModel", "NetVLADModelLF"])
def test_a_run_in_pieces_equals_a_run_in_one(tmp_path, video_glob, frame_glob, model):
    small = {"netvlad_cluster_size": 2, "netvlad_hidden_size": 4} if "VLAD" in model else {}
    flags = flags_of(model, **small)
    glob = frame_glob if flags.features.frame_level else video_glob
    whole = run(tmp_path / "whole", glob, flags=flags, max_steps=7, num_epochs=0)
    for steps in (2, 5, 7):
        pieces = run(tmp_path / "pieces", glob, flags=flags, max_steps=steps, num_epochs=0)
    expected, found = weights_of(whole), weights_of(pieces)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    losses = [scalars_of(tmp_path / d)["label_loss"] for d in ("whole", "pieces")]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_a_killed_run_resumes_with_the_same_losses(tmp_path, video_glob):
    script = f"""
import sys, os
from tests.training.test_loop import run
from pathlib import Path
def progress(task, done, total, **_):
    print(done, flush=True)
run(Path({str(tmp_path / "killed")!r}), {video_glob!r}, num_epochs=0, max_steps=100_000,
    save_steps=5, progress=progress)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE
    )
    assert process.stdout
    with process.stdout as lines:
        while int(lines.readline()) < 16 * 12:
            pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    recover_all(str(tmp_path / "killed"))  # it may have died while its last checkpoint appeared
    reached = find_steps(str(tmp_path / "killed"))[-1]
    steps = reached + 10
    # In processes like the killed one: tests before this one may have set up TensorFlow otherwise.
    script = f"""
import sys
from pathlib import Path
from tests.training.test_loop import run
run(Path(sys.argv[1]), {video_glob!r}, num_epochs=0, max_steps={steps})
"""
    resumed, unbroken = tmp_path / "killed", tmp_path / "unbroken"
    for train_dir in (resumed, unbroken):
        command = [sys.executable, "-c", script, str(train_dir)]
        subprocess.run(command, env=environment, check=True)
    losses = [scalars_of(train_dir)["label_loss"] for train_dir in (resumed, unbroken)]
    assert {s: losses[0][s] for s in range(reached + 1, steps + 1)} == {
        s: losses[1][s] for s in range(reached + 1, steps + 1)
    }
    with (
        open_checkpoint(f"{unbroken}/model.ckpt-{steps}") as expected,
        open_checkpoint(f"{resumed}/model.ckpt-{steps}") as found,
    ):
        for name in expected.specs():
            np.testing.assert_array_equal(found.read(name), expected.read(name), err_msg=name)


def test_a_finished_run_is_left_as_it_is(tmp_path, video_glob):
    first = run(tmp_path, video_glob, max_steps=2)
    before = Path(f"{first.prefix}.data-00000-of-00001").stat().st_mtime_ns
    again = run(tmp_path, video_glob, max_steps=2)
    assert again.prefix == first.prefix
    assert Path(f"{first.prefix}.data-00000-of-00001").stat().st_mtime_ns == before


def test_a_loss_that_is_no_number_stops_with_the_last_good_checkpoint(tmp_path, video_glob):
    run(tmp_path, video_glob, max_steps=2)
    with pytest.raises(TrainingError, match=r"at step \d+\. The last good checkpoint") as caught:
        run(
            tmp_path, video_glob, max_steps=50, learning_rate=1e38, clip_gradient_norm=0.0,
            save_steps=100,
        )  # fmt: skip
    assert caught.value.steps == [2]
    assert f"{tmp_path}@2" in str(caught.value)
    assert find_steps(str(tmp_path)) == [2]


def test_ruined_weights_are_not_saved(tmp_path, video_glob):
    with pytest.raises(
        TrainingError, match=r"not finite\. No checkpoint was saved before"
    ) as caught:
        run(tmp_path, video_glob, max_steps=1, learning_rate=1e39, clip_gradient_norm=0.0)
    assert str(caught.value.name).startswith("tower/")
    assert find_steps(str(tmp_path)) == []


def test_training_stops_when_validation_does_not_rise(tmp_path, video_glob):
    last = run(
        tmp_path, video_glob, num_epochs=100, save_steps=2, learning_rate=0.0,
        validation_data="x", early_stop=2, validation=video_glob,
    )  # fmt: skip
    # Nothing is learnt: the first score is the best, the two after it are no better.
    assert last.global_step == 6
    assert sorted(scalars_of(tmp_path)["Epoch/Eval_GAP"]) == [2, 4, 6]


@pytest.mark.slow
def test_a_resumed_run_stops_where_an_unbroken_one_would(tmp_path, video_glob):
    stopping = {"save_steps": 1, "learning_rate": 0.0, "validation_data": "x", "early_stop": 3}
    run(tmp_path, video_glob, max_steps=2, validation=video_glob, **stopping)
    last = run(tmp_path, video_glob, max_steps=50, validation=video_glob, **stopping)
    assert last.global_step == 4
    again = run(tmp_path, video_glob, max_steps=50, validation=video_glob, **stopping)
    assert again.global_step == 4
    assert list(json.loads((tmp_path / "validation.json").read_text())) == ["1", "2", "3", "4"]


def test_averaged_weights_become_a_checkpoint_of_their_own(tmp_path, video_glob):
    last = run(tmp_path, video_glob, max_steps=4, ema_decay=0.5)
    with open_checkpoint(str(tmp_path / "ema.ckpt-4")) as source:
        averaged = source.read("tower/experts/biases")
        assert source.global_step == 4
    weights = weights_of(last)
    slot = weights["tower/experts/biases/ExponentialMovingAverage"]
    np.testing.assert_array_equal(averaged, slot)
    assert not np.array_equal(averaged, weights["tower/experts/biases"])


@pytest.mark.slow
@pytest.mark.parametrize("level", ["video", "frame"])
def test_exports_serve_what_the_graph_predicts(tmp_path, video_glob, frame_glob, level):
    glob = video_glob if level == "video" else frame_glob
    flags = flags_of("MoeModel" if level == "video" else "FrameLevelLogisticModel")
    last = run(tmp_path, glob, flags=flags, max_steps=3, save_steps=2, export_steps=2)
    assert sorted(p.name for p in (tmp_path / "export").iterdir()) == ["step_2", "step_3"]
    loaded = tf.saved_model.load(str(tmp_path / "export" / "step_3"))
    serve = loaded.signatures["serving_default"]
    paths = expand_globs(glob, option="--x")
    records = list(tf.data.TFRecordDataset(paths[0]).take(5).as_numpy_iterator())
    served = {name: value.numpy() for name, value in serve(tf.constant(records)).items()}
    assert set(served) == {"video_id", "class_indexes", "predictions"}
    batch = next(
        read_batches(paths[:1], features=flags.features, num_classes=NUM_CLASSES, batch_size=5)
    )
    with predictor(flags, weights_of(last)) as predict:
        scores = predict(batch.features, batch.num_frames)
    assert served["video_id"].tolist() == batch.video_ids.tolist()
    assert (np.diff(served["predictions"]) <= 0).all()
    expected = np.take_along_axis(scores, served["class_indexes"], 1)
    np.testing.assert_allclose(served["predictions"], expected, atol=1e-6)


def write_teacher(path, *, first=0, num_classes=NUM_CLASSES, value=0.25):
    ids = np.array([f"v{first + n:04d}".encode() for n in range(64)])
    scores = np.full((64, num_classes), value, np.float32)
    with PredictionsWriter(
        str(path), members=("t",), digests=("d",), num_classes=num_classes
    ) as writer:
        writer.append(ids, scores[None], None)
        writer.end_shard("s")
        writer.finish()
    return str(path)


@pytest.mark.slow
def test_a_teacher_is_followed(tmp_path, video_glob):
    teacher = write_teacher(tmp_path / "t.h5")
    last = run(
        tmp_path / "run", video_glob, num_epochs=60, teacher=teacher, teacher_weight=1.0,
        learning_rate=0.1,
    )  # fmt: skip
    paths = expand_globs(video_glob, option="--x")
    batch = next(read_batches(paths, features=VIDEO, num_classes=NUM_CLASSES, batch_size=64))
    with predictor(flags_of(), weights_of(last)) as predict:
        scores = predict(batch.features, batch.num_frames)
    np.testing.assert_allclose(scores, 0.25, atol=0.1)


def test_a_teacher_of_other_videos_is_refused(tmp_path, video_glob):
    teacher = write_teacher(tmp_path / "t.h5", first=500)
    with pytest.raises(AlignmentError, match="no scores of 16 of 16 videos of a batch") as caught:
        run(tmp_path / "run", video_glob, teacher=teacher)
    assert caught.value.missing == 16


def test_a_teacher_of_other_classes_is_refused(tmp_path, video_glob):
    teacher = write_teacher(tmp_path / "t.h5", num_classes=7)
    with pytest.raises(PredictionsError, match="scores 7 classes, the model 4") as caught:
        run(tmp_path / "run", video_glob, teacher=teacher)
    assert caught.value.found == 7


def test_empty_records_are_refused(tmp_path):
    glob = write_learnable_records(tmp_path / "none", videos=0)
    with pytest.raises(DataError, match="The 2 record files hold no record") as caught:
        run(tmp_path / "run", glob)
    assert isinstance(caught.value.paths, tuple)


def test_a_bad_record_is_named(tmp_path, video_glob):
    flags = ModelFlags("LogisticModel", VIDEO, 2)
    with pytest.raises(DataError, match="Record 0 of"):
        run(tmp_path / "run", video_glob, flags=flags)


def test_progress_reports_examples_and_batch_metrics(tmp_path, video_glob):
    calls = []

    def progress(task, done, total, *, unit="", note=""):
        calls.append((task, done, total, unit, note))

    run(tmp_path, video_glob, max_steps=3, progress=progress)
    assert [call[:4] for call in calls] == [
        ("train MoeModel", 16 * n, 48, "examples") for n in (1, 2, 3)
    ]
    assert "step 3 loss" in calls[-1][4]
    assert all(name in calls[-1][4] for name in ("Hit@1", "PERR", "GAP"))


def test_more_devices_than_videos_a_batch(tmp_path, video_glob, monkeypatch):
    from yt8m_ensemble.training.trainer import Trainer

    monkeypatch.setattr(Trainer, "num_replicas", 3)
    with pytest.raises(UsageError, match="cannot be shared by 3 devices") as caught:
        run(tmp_path, video_glob)
    assert caught.value.num_replicas == 3
    with pytest.raises(UsageError, match="3 devices must stop at the same step"):
        run(tmp_path, video_glob, batch_size=15)
