"""`--max-frames` is stored with the model, and every later command keeps as many frames."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tests.builders.models import NUM_CLASSES
from tests.builders.records import write_learnable_records
from yt8m_ensemble.errors import BundleError, ModelError, UsageError
from yt8m_ensemble.loading.model import open_model
from yt8m_ensemble.options import FeatureOptions
from yt8m_ensemble.steps.eval import evaluate_model
from yt8m_ensemble.steps.extract import extract_members
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.package import package_model
from yt8m_ensemble.steps.predict import predict_scores
from yt8m_ensemble.steps.train import choose_features, train_model
from yt8m_ensemble.steps.verify import verify_bundle
from yt8m_ensemble.values import Predictions, parse_feature_spec, parse_flags

pytestmark = [pytest.mark.tf, pytest.mark.slow]

LIMIT = 3


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return tmp_path_factory.mktemp("world")


@pytest.fixture(scope="module")
def records(world):
    return write_learnable_records(world / "r", frame_level=True)  # two to five frames a video


def train(world, records, name, **options):
    train_model(
        model="FrameLevelLogisticModel",
        train_data=records,
        train_dir=str(world / name),
        features="frame",
        feature_names="rgb,audio",
        feature_sizes="6,2",
        num_classes=NUM_CLASSES,
        batch_size=16,
        max_steps=2,
        **options,
    )
    return str(world / name)


@pytest.fixture(scope="module")
def short(world, records):
    return train(world, records, "short", max_frames=LIMIT, export_steps=2)


@pytest.fixture(scope="module")
def usual(world, records):
    return train(world, records, "usual")


def stored(folder, name="model_flags.json"):
    with pathlib.Path(f"{folder}/{name}").open() as file:
        return json.load(file)


def test_only_another_limit_is_written_down(short, usual):
    assert stored(short)["max_frames"] == LIMIT
    assert "max_frames" not in stored(usual)  # the layout of the official readers


def test_evaluation_cuts_there_and_says_so(short, usual, records):
    cut = evaluate_model(model=short, data=records)
    assert [w.split("videos are ")[1] for w in cut.warnings] == [
        "longer than 3 frames and were cut there."
    ]
    assert evaluate_model(model=usual, data=records).warnings == ()
    with open_model(short) as model:
        assert model.features.max_frames == LIMIT


def test_exports_are_padded_to_it(short):
    (folder,) = tf.io.gfile.glob(f"{short}/export/*") or tf.io.gfile.glob(f"{short}/export*/*")
    loaded = tf.saved_model.load(folder)
    shape = loaded.signatures["features"].structured_input_signature[1]["input_batch_raw"].shape
    assert shape.as_list() == [None, LIMIT, 8]


def test_merged_and_packaged_models_keep_it(world, short, records):
    merged = str(world / "merged")
    merge_models(members=[f"a={short}", f"b={short}"], out=merged)
    assert stored(merged)["max_frames"] == LIMIT
    bundle = str(world / "m.tgz")
    package_model(model=merged, out=bundle)
    # Of a model this small one check fails, and it has nothing to do with frames.
    with pytest.raises(BundleError, match=r"fails 1 of .* 20 classes .* loads and scores"):
        verify_bundle(path=bundle, data=records)
    before, after = (evaluate_model(model=m, data=records) for m in (short, bundle))
    assert after.report.metrics.gap == pytest.approx(before.report.metrics.gap, abs=1e-6)
    extract_members(ensemble=bundle, members=["a"], out=str(world / "apart"))
    assert stored(world / "apart" / "a")["max_frames"] == LIMIT


def test_members_of_unlike_limits_keep_their_own(world, short, usual, records):
    mixed = str(world / "mixed")
    merge_models(members=[f"a={short}", f"b={usual}"], out=mixed)
    with open_model(mixed) as model:
        assert model.features.max_frames == 300
    found = predict_scores(models=[mixed], data=records)
    assert isinstance(found, Predictions)
    for position, path in enumerate((short, usual)):
        alone = predict_scores(models=[path], data=records)
        assert isinstance(alone, Predictions)
        np.testing.assert_allclose(found.scores[position], alone.scores[0], atol=1e-6)
    assert np.abs(found.scores[0] - found.scores[1]).max() > 1e-3


@pytest.mark.parametrize(("first", "then"), [("short", {}), ("usual", {"max_frames": LIMIT})])
def test_training_does_not_go_on_with_another_limit(world, records, request, first, then):
    request.getfixturevalue(first)
    with pytest.raises(ModelError, match="was trained with max_frames="):
        train(world, records, first, **then)


def test_means_have_no_frames_to_cut():
    with pytest.raises(UsageError, match="`--max-frames` cuts frames"):
        choose_features(FeatureOptions(max_frames=5))


@pytest.mark.parametrize("limit", [0, -1, 40_000, "3", None, 2.5])
def test_flags_with_no_limit_are_refused(limit):
    flags = {"feature_names": "a", "feature_sizes": "1", "frame_features": True}
    with pytest.raises(ModelError, match="max_frames"):
        parse_flags(json.dumps({**flags, "max_frames": limit}), path="model_flags.json")
    spec = parse_feature_spec(parse_flags(json.dumps({**flags, "max_frames": 7}), path="f"))
    assert spec.max_frames == 7
