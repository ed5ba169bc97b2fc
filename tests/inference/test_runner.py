import numpy as np
import pytest

from tests.builders.models import small_flags, write_train_dir
from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.data import dequantize
from yt8m_ensemble.errors import CheckpointError, ShapeError
from yt8m_ensemble.inference import GraphRunner
from yt8m_ensemble.models import build_graph
from yt8m_ensemble.values import DictSource

pytestmark = pytest.mark.tf


@pytest.fixture
def model(tmp_path):
    flags = small_flags("LogisticModel")
    directory = write_train_dir(tmp_path / "m", flags)
    return build_graph(flags), open_checkpoint(str(directory / "model.ckpt-1"))


def test_a_logistic_model_predicts_the_sigmoid_of_its_normalised_input(model):
    graph, source = model
    inputs = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    with GraphRunner(graph, source) as runner:
        scores = runner.predict(inputs, np.ones(3, np.int32))
        members = runner.members_of(runner.pool_frames(inputs, np.ones(3, np.int32)))
    unit = inputs / np.linalg.norm(inputs, axis=1, keepdims=True)
    weights = source.read("tower/fully_connected/weights")
    logits = unit @ weights + source.read("tower/fully_connected/biases")
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits)), atol=1e-6)
    np.testing.assert_array_equal(members, scores[None])


def test_a_batch_of_another_width_is_refused(model):
    with GraphRunner(*model) as runner, pytest.raises(ShapeError, match=r"records give \(3, 7\)"):
        runner.predict(np.zeros((3, 7), np.float32), np.ones(3, np.int32))


def test_a_variable_without_value_is_refused(model):
    with pytest.raises(CheckpointError, match="in the graph but not in the checkpoint") as caught:
        GraphRunner(model[0], DictSource({}))
    assert caught.value.tensor in model[0].variables


@pytest.mark.parametrize("model", ["NetVLADModelLF", "GruModel"])
def test_frames_given_as_bytes_score_the_same_bit_for_bit(tmp_path, model):
    flags = small_flags(model)
    directory = write_train_dir(tmp_path / "m", flags)
    rng = np.random.default_rng(0)
    num_frames = np.array([7, 3, 5], np.int32)
    frames = rng.integers(0, 256, (3, 7, flags.features.total_size), np.uint8)
    frames[np.arange(7) >= num_frames[:, None]] = 0
    # As the records are read: q * 4/255 + 4/512 - 2 in float32, padding 0.
    values = dequantize(frames) * (np.arange(7) < num_frames[:, None])[:, :, None]
    with (
        open_checkpoint(str(directory / "model.ckpt-1")) as source,
        GraphRunner(build_graph(flags), source) as runner,
    ):
        assert runner.takes_bytes
        found = runner.pool_frames(frames, num_frames)
        expected = runner.pool_frames(values.astype(np.float32), num_frames)
        for score in (runner.mixed, runner.members_of):
            np.testing.assert_array_equal(score(found), score(expected))


def test_a_model_of_means_takes_no_bytes(model):
    with GraphRunner(*model) as runner:
        assert not runner.takes_bytes
