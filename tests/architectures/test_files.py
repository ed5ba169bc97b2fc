"""The whole way of every architecture: trained, averaged, merged, packaged; one score all along."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.builders.models import (
    CASES,
    IDS,
    POOLED_MLP,
    SMALL,
    predictor,
    random_inputs,
    random_weights,
    small_flags,
    train_options,
)
from tests.builders.records import write_learnable_records
from yt8m_ensemble.checkpoints import write_checkpoint
from yt8m_ensemble.graphs import write_meta_graph
from yt8m_ensemble.inference import GraphRunner, runner
from yt8m_ensemble.loading.model import open_model
from yt8m_ensemble.models import REGISTRY, build_graph
from yt8m_ensemble.scoring.evaluation import scored_batches
from yt8m_ensemble.steps.avg_ckpt import average_checkpoints
from yt8m_ensemble.steps.eval import evaluate_model
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.package import package_model
from yt8m_ensemble.steps.predict import predict_scores
from yt8m_ensemble.steps.train import train_model
from yt8m_ensemble.steps.verify import verify_bundle
from yt8m_ensemble.storage import open_predictions

pytestmark = [pytest.mark.tf, pytest.mark.slow]

VIDEOS = 23
NUM_CLASSES = 21  # archives of fewer than 20 are refused; the records name 4 of them

# Run by TensorFlow 1.
PREDICT = """
import sys
import numpy as np
import tensorflow as tf

folder, out, count = sys.argv[1:]
for number in range(int(count)):
    path = "%s/%d" % (folder, number)
    fed = np.load(path + ".npz")
    with tf.Graph().as_default(), tf.Session() as session:
        tf.train.import_meta_graph(path + ".meta", clear_devices=True).restore(session, path)
        inputs, num_frames, predictions = (
            tf.get_collection(key)[0] for key in ("input_batch_raw", "num_frames", "predictions")
        )
        feed = {inputs: fed["inputs"], num_frames: fed["num_frames"]}
        np.save("%s/%d.npy" % (out, number), session.run(predictions, feed))
"""


@pytest.fixture(scope="module")
def globs(tmp_path_factory):
    return {
        frame_level: write_learnable_records(
            tmp_path_factory.mktemp("records"), videos=VIDEOS, frame_level=frame_level
        )
        for frame_level in (False, True)
    }


def predicted(model, glob):
    """Return a model's cached scores and its CSV, made two videos at a time."""
    where = str(model)
    predict_scores(models=[where], data=glob, cache=f"{where}.h5", csv=f"{where}.csv", batch_size=2)
    with open_predictions(f"{where}.h5") as file:
        return np.array(file.scores(0)), Path(f"{where}.csv").read_bytes()


def evaluated(model, glob):
    """Return the scores that `eval` judges."""
    with open_model(str(model)) as opened, GraphRunner(opened.graph, opened.source) as loaded:
        batches = scored_batches(loaded, opened, sorted(tf.io.gfile.glob(glob)), batch_size=2)
        return np.concatenate([scores for scores, _ in batches])


@pytest.mark.parametrize(
    ("name", "extra"),
    [*((name, {}) for name in REGISTRY), ("NetVLADModelLF", POOLED_MLP), ("LstmModel", POOLED_MLP)],
    ids=[*REGISTRY, "NetVLADModelLF-MlpModel", "LstmModel-MlpModel"],
)
def test_every_path_to_a_trained_model_gives_the_same_scores(
    tmp_path, monkeypatch, globs, name, extra
):
    features = small_flags(name).features
    glob = globs[features.frame_level]
    train_model(
        model=name,
        train_data=glob,
        train_dir=str(tmp_path / "run"),
        num_classes=NUM_CLASSES,
        **train_options(
            features, {**SMALL[name], **extra, "batch_size": 16, "max_steps": 4, "save_steps": 2}
        ),
    )
    prefix = tmp_path / "averaged" / "model.ckpt-4"
    average_checkpoints(prefix=str(tmp_path / "run"), last=2, out=str(prefix))
    merge_models(members=[f"only={prefix}"], out=str(tmp_path / "merged"))
    package_model(model=str(tmp_path / "merged"), out=str(tmp_path / "bundle.tgz"))
    # Frames one at a time, and what they become a whole file at a time.
    piece = 4 * features.max_frames * features.total_size
    monkeypatch.setattr(runner, "_PIECE_BYTES", piece)

    expected, text = predicted(prefix, glob)
    assert expected.shape == (VIDEOS, NUM_CLASSES)
    assert len(np.unique(expected)) > NUM_CLASSES
    for path in (tmp_path / "averaged", tmp_path / "merged", tmp_path / "bundle.tgz"):
        scores, other_text = predicted(path, glob)
        # One member of weight 1, in float32: not a bit differs between checkpoint and bundle.
        np.testing.assert_array_equal(scores, expected, err_msg=str(path))
        assert other_text == text
        np.testing.assert_array_equal(evaluated(path, glob), expected, err_msg=str(path))
    gaps = {
        evaluate_model(model=str(path), data=glob).report.metrics.gap for path in (prefix, path)
    }
    assert len(gaps) == 1
    if extra:  # a fresh process for each takes as long as all the rest
        proof = verify_bundle(path=str(path), data=glob, against=f"{prefix}.csv")
        assert proof.runs[0].comparison

    merge_models(members=[f"only={prefix}"], out=str(tmp_path / "half"), fp16="auto")
    package_model(model=str(tmp_path / "half"), out=str(tmp_path / "half.tgz"))
    np.testing.assert_allclose(predicted(tmp_path / "half.tgz", glob)[0], expected, atol=5e-3)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A folder of the files and inputs of every case, and our scores."""
    folder, expected = tmp_path_factory.mktemp("cases"), []
    for number, (name, extra) in enumerate(CASES):
        flags = small_flags(name, **extra)
        weights = random_weights(flags)
        inputs, num_frames = random_inputs(flags)
        write_meta_graph(build_graph(flags), str(folder / f"{number}.meta"))
        write_checkpoint(str(folder / str(number)), weights)
        np.savez(folder / f"{number}.npz", inputs=inputs, num_frames=num_frames)
        with predictor(flags, weights) as predict:
            expected.append(predict(inputs, num_frames))
    return folder, expected


@pytest.mark.parametrize("version", ["1.14.0", "1.15.5", "1.8.0"])
def test_tensorflow_1_predicts_the_same(tmp_path, tf1_python, stored, version):
    folder, expected = stored
    command = [tf1_python(version), "-c", PREDICT, str(folder), str(tmp_path), str(len(CASES))]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for number, scores in enumerate(expected):
        found = np.load(tmp_path / f"{number}.npy")
        np.testing.assert_allclose(found, scores, atol=2e-6, err_msg=IDS[number])
