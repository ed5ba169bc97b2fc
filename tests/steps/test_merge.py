import json

import numpy as np
import pytest

from tests.builders.models import small_flags, write_train_dir
from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.errors import (
    CastOverflowError,
    GraphError,
    MixtureWeightsError,
    OutputExistsError,
    UsageError,
)
from yt8m_ensemble.steps.merge import merge_models, plan_merge_models
from yt8m_ensemble.values import MixtureWeights

pytestmark = pytest.mark.tf


@pytest.fixture
def members(tmp_path):
    return [
        str(write_train_dir(tmp_path / name, small_flags(model), seed=seed))
        for seed, (name, model) in enumerate((("a", "LogisticModel"), ("b", "MoeModel")))
    ]


def test_a_merge_writes_a_whole_inference_model(members, tmp_path):
    out = tmp_path / "blend"
    result = merge_models(members=members, weights=(0.75, 0.25), mix="logit", out=str(out))
    assert sorted(path.name for path in out.iterdir()) == [
        "inference_model.data-00000-of-00001",
        "inference_model.index",
        "inference_model.meta",
        "model_flags.json",
    ]
    flags = json.loads((out / "model_flags.json").read_text())
    assert (flags["members"], flags["mix"], flags["num_classes"]) == (["a", "b"], "logit", 4)
    with open_checkpoint(str(out / "inference_model")) as merged:
        assert merged.read("mixture_weights").tolist() == [0.75, 0.25]
    provenance = json.loads((tmp_path / "blend.provenance.json").read_text())
    assert sorted(provenance["inputs"]) == sorted(members)
    assert result.nbytes == sum(result.member_nbytes.values())


def test_a_weights_file_is_matched_by_member_name(members, tmp_path):
    path = tmp_path / "w.json"
    path.write_text(MixtureWeights(("b", "a"), (0.9, 0.1), "geometric").to_json())
    result = merge_models(members=members, weights=str(path), out=str(tmp_path / "blend"))
    assert result.weights.values == (0.1, 0.9)
    assert result.weights.space == "geometric"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((0.5, 0.4), r"sum to 0.9 \(a 0.5, b 0.4\), expected 1. Rescale them"),
        ((1.5, -0.5), "finite and at least 0"),
        ((1.0,), "1 mixture weights for 2 members"),
        (MixtureWeights(("a", "c"), (0.5, 0.5)), "The mixture is over a, c, the members are a, b"),
    ],
)
def test_weights_that_are_no_mixture_write_nothing(members, tmp_path, weights, message):
    with pytest.raises(MixtureWeightsError, match=message):
        merge_models(members=members, weights=weights, out=str(tmp_path / "blend"))
    assert not (tmp_path / "blend").exists()


def test_numbers_are_rescaled_on_request(members, tmp_path):
    result = plan_merge_models(
        members=members, weights=(3, 1), normalize=True, out=str(tmp_path / "x")
    )
    assert result.weights.values == (0.75, 0.25)
    assert not (tmp_path / "x").exists()


def test_an_existing_directory_survives_without_force(members, tmp_path):
    out = tmp_path / "blend"
    out.mkdir()
    (out / "precious").write_text("x")
    with pytest.raises(OutputExistsError):
        merge_models(members=members, out=str(out))
    assert (out / "precious").exists()
    merge_models(members=members, out=str(out), force=True)
    assert not (out / "precious").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "a",
        "b",
        "blend",
        "blend.provenance.json",
    ]


def test_an_overflow_names_the_tensor_and_writes_nothing(tmp_path):
    flags = small_flags("LogisticModel", num_classes=200)
    big = write_train_dir(tmp_path / "big", flags, scale=50_000)
    with pytest.raises(CastOverflowError, match="big/tower/fully_connected/weights"):
        merge_models(members=[str(big)], fp16="auto", out=str(tmp_path / "blend"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["big"]
    merge_models(
        members=[str(big)],
        fp16="auto",
        keep_float32=["big/tower/fully_connected/weights"],
        out=str(tmp_path / "blend"),
    )


def test_a_merge_needs_a_member(tmp_path):
    with pytest.raises(UsageError, match="`--member PATH`"):
        merge_models(members=[], out=str(tmp_path / "blend"))


def export_frozen(directory, score):
    """Write a meta graph whose weights are constants, as other tools do, and its flags."""
    import json

    import tensorflow as tf

    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, (None, 8), "x")
        n = tf.compat.v1.placeholder(tf.float32, (None,), "n")
        for name, tensor in (
            ("input_batch_raw", x),
            ("num_frames", n),
            ("predictions", score(x)),
        ):
            tf.compat.v1.add_to_collection(name, tensor)
        directory.mkdir()
        tf.compat.v1.train.export_meta_graph(str(directory / "frozen.meta"))
    flags = {"feature_names": "mean_rgb,mean_audio", "feature_sizes": "6,2"}
    (directory / "model_flags.json").write_text(json.dumps({**flags, "frame_features": False}))
    return str(directory / "frozen.meta")


def test_a_frozen_graph_is_merged_with_a_trained_one(tmp_path):
    import tensorflow as tf

    weights = np.random.default_rng(0).normal(size=(8, 300)).astype(np.float32)
    frozen = export_frozen(tmp_path / "f", lambda x: tf.sigmoid(x @ tf.constant(weights, name="w")))
    trained = write_train_dir(tmp_path / "a", small_flags("LogisticModel", num_classes=300))
    out = tmp_path / "blend"
    merge_models(members=[f"f={frozen}", str(trained)], fp16="auto", out=str(out))
    with open_checkpoint(str(out / "inference_model")) as merged:
        assert merged.specs()["f/w"].dtype == "float16"
        np.testing.assert_array_equal(merged.read("f/w"), weights.astype(np.float16))


def test_what_tensorflow_1_14_does_not_know_is_refused_with_the_member(tmp_path):
    import tensorflow as tf

    frozen = export_frozen(tmp_path / "f", lambda x: tf.einsum("bf,fc->bc", x, tf.ones((8, 4))))
    with pytest.raises(GraphError, match=r"Einsum.*f/") as caught:
        merge_models(members=[f"f={frozen}"], out=str(tmp_path / "blend"))
    assert not (tmp_path / "blend").exists()
    assert "`--target any`" in str(caught.value)
    merge_models(members=[f"f={frozen}"], target="any", out=str(tmp_path / "blend"))


def test_random_draws_are_fixed_on_request(fixtures, tmp_path):
    from yt8m_ensemble.loading.model import open_model

    archive = f"d={fixtures / 'google2018/DbofModel/model.tgz'}"
    for name, is_fixed in (("random", False), ("fixed", True)):
        out = str(tmp_path / name)
        merge_models(members=[archive], with_fixed_frames=is_fixed, out=out)
        with open_model(out) as merged:
            operations = {node.op for node in merged.graph.graph_def.node}
        assert ("RandomUniform" in operations) != is_fixed
