"""What holds for every architecture; a new one is tested by being registered."""

import numpy as np
import pytest

from tests.architectures import oracle
from tests.builders.models import (
    CASES,
    IDS,
    NUM_CLASSES,
    SMALL,
    predictor,
    random_inputs,
    random_weights,
    raw_flags,
    small_flags,
    specs_of,
)
from yt8m_ensemble.errors import ModelError
from yt8m_ensemble.models import REGISTRY, build_graph, recognize

pytestmark = pytest.mark.tf

OLD_OPERATIONS = {
    "Add", "AddV2", "BatchMatMul", "BiasAdd", "Cast", "ConcatV2", "Const", "Enter", "Exit",
    "ExpandDims", "Fill", "GatherV2", "Identity", "Less", "LoopCond", "MatMul", "MatrixDiagPart",
    "Max", "Maximum", "Merge", "Mul", "NextIteration", "Pack", "Placeholder", "Range", "RealDiv",
    "Relu", "Relu6", "Reshape", "ReverseSequence", "Rsqrt", "Shape", "Sigmoid", "Softmax", "Split",
    "Square", "StridedSlice", "Sub", "Sum", "Switch", "Tanh", "Transpose", "VariableV2",
}  # fmt: skip
"""All known to TensorFlow 1.8."""

TRACELESS = {
    "moe_l2", "iterations", "sample_random_frames", "gating_remove_diag", "dbof_pooling_method",
    "drop_rate", "fv_coupling_factor", "netvlad_relu", "dbof_activation", "dbof_hidden_size",
    "dbof_relu", "softdbof_maxpool", "lstm_backward", "gru_backward", "fv_relu",
    "lstm_random_sequence", "gru_random_sequence", "mlp_dropout", "mlp_residual",
}  # fmt: skip
"""Options that variables need not show."""


def test_every_architecture_has_a_small_size():
    assert set(SMALL) == set(REGISTRY)


@pytest.mark.parametrize(("name", "extra"), CASES, ids=IDS)
def test_scores_depend_on_a_videos_true_frames_and_nothing_else(name, extra):
    flags = small_flags(name, **extra)
    inputs, num_frames = random_inputs(flags)
    with predictor(flags, random_weights(flags)) as predict:
        scores = predict(inputs, num_frames)
        assert scores.shape == (3, NUM_CLASSES)
        assert scores.dtype == np.float32
        assert ((scores >= 0) & (scores <= 1)).all()
        assert scores.std() > 1e-4
        alone = [predict(inputs[i : i + 1], num_frames[i : i + 1]) for i in range(3)]
        np.testing.assert_allclose(np.concatenate(alone), scores, atol=2e-6)
        if flags.features.frame_level:
            longer = np.full((3, 8, inputs.shape[2]), 7.0, np.float32)
            longer[:, :5] = np.where(frame_places(inputs) < num_frames[:, None, None], inputs, -3)
            np.testing.assert_allclose(predict(longer, num_frames), scores, atol=2e-6)


@pytest.mark.parametrize(("name", "extra"), CASES, ids=IDS)
def test_agrees_with_the_oracle(name, extra):
    flags = small_flags(name, **extra)
    weights = random_weights(flags, seed=3)
    inputs, num_frames = random_inputs(flags, seed=4)
    expected = oracle.predict(flags, weights, inputs, num_frames)
    with predictor(flags, weights) as predict:
        np.testing.assert_allclose(predict(inputs, num_frames), expected, atol=1e-5)


def frame_places(inputs):
    return np.arange(inputs.shape[1])[None, :, None]


@pytest.mark.parametrize(("name", "extra"), CASES, ids=IDS)
def test_the_graph_holds_only_operations_of_tensorflow_1(name, extra):
    graph = build_graph(small_flags(name, **extra))
    assert {node.op for node in graph.graph_def.node} <= OLD_OPERATIONS
    assert not graph.graph_def.library.function
    assert all(variable.startswith("tower/") for variable in graph.variables)
    assert all(node == spec.name for node, spec in graph.variables.items())


@pytest.mark.parametrize(("name", "extra"), CASES, ids=IDS)
def test_the_variables_tell_the_architecture(name, extra):
    flags = small_flags(name, **extra)
    found = recognize(specs_of(random_weights(flags)), raw_flags(flags))
    assert found.model == name
    assert found.num_classes == NUM_CLASSES
    shown = {key: value for key, value in flags.options.items() if key not in TRACELESS}
    assert {key: found.options[key] for key in shown} == shown


@pytest.mark.parametrize("name", list(REGISTRY))
def test_flags_outlive_recognition(name):
    flags = small_flags(name)
    raw = {**raw_flags(flags), **flags.options, "num_classes": NUM_CLASSES}
    assert recognize(specs_of(random_weights(flags)), raw) == flags


@pytest.mark.parametrize("name", ["DbofModel", "LstmModel", "NetVLADModelLF"])
def test_the_other_level_is_refused(name):
    raw = {**raw_flags(small_flags(name)), "frame_features": False}
    with pytest.raises(ModelError, match="no known video-level model on 8 features"):
        recognize(specs_of(random_weights(small_flags(name))), raw)
