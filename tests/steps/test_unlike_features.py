"""Members that read other features, or another level, in one merged model and in one pass."""

import json
from dataclasses import replace
from glob import glob

import numpy as np
import pytest
from click.testing import CliRunner

from tests.builders.models import FRAME, VIDEO, small_flags, write_train_dir
from tests.builders.records import make_frames, make_means, write_shards
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.data import read_batches
from yt8m_ensemble.errors import ModelError
from yt8m_ensemble.loading.joint_features import share_features
from yt8m_ensemble.loading.model import open_model, open_models
from yt8m_ensemble.metrics import global_average_precision
from yt8m_ensemble.steps.avg_ckpt import average_checkpoints
from yt8m_ensemble.steps.eval import evaluate_models
from yt8m_ensemble.steps.extract import extract_members
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.merge_predictions import merge_predictions
from yt8m_ensemble.steps.package import package_model
from yt8m_ensemble.steps.predict import PredictResult, predict_scores
from yt8m_ensemble.steps.tune_weights import plan_tune_weights, tune_weights
from yt8m_ensemble.steps.verify import verify_bundle
from yt8m_ensemble.storage import PredictionsWriter, open_predictions
from yt8m_ensemble.storage.arrays import write_predictions
from yt8m_ensemble.values import FeatureSpec, Predictions, feature_ranges, join_features

pytestmark = pytest.mark.tf

AUDIO = FeatureSpec(("audio",), (2,), frame_level=True)
TURNED = FeatureSpec(("audio", "rgb"), (2, 6), frame_level=True)
SHORT = FeatureSpec(("rgb", "audio"), (6, 2), frame_level=True, max_frames=3)
MEAN_AUDIO = FeatureSpec(("mean_audio",), (2,), frame_level=False)
MEANS_TURNED = FeatureSpec(("mean_audio", "mean_rgb"), (2, 6), frame_level=False)

FRAME_MEMBERS = {
    "both": ("FrameLevelLogisticModel", FRAME),
    "audio": ("LstmModel", AUDIO),
    "turned": ("DbofModel", TURNED),
    "short": ("GruModel", SHORT),
}
VIDEO_MEMBERS = {
    "means": ("MoeModel", VIDEO),
    "sound": ("LogisticModel", MEAN_AUDIO),
    "swapped": ("MlpModel", MEANS_TURNED),
}


def write_members(folder, members):
    """Write a train directory for each member; return them as `NAME=PATH`."""
    paths = []
    for seed, (name, (architecture, features)) in enumerate(members.items()):
        flags = replace(small_flags(architecture, num_classes=21), features=features)
        paths.append(f"{name}={write_train_dir(folder / name, flags, seed=seed)}")
    return paths


def in_memory(**options):
    """Score records and keep the scores."""
    scores = predict_scores(**options)
    assert isinstance(scores, Predictions)
    return scores


def frames_of(index):
    return make_frames(index, rgb=6, num_frames=1 + 4 * index % 11)


def own_scores(member, paths, *, joint_frames):
    """Score a member alone with features that numpy cuts out of the records."""
    with open_model(member) as model:
        own = model.features
        wide = FRAME if joint_frames else VIDEO
        found = []
        for batch in read_batches(paths, features=wide, num_classes=21, batch_size=7):
            values, counts = np.asarray(batch.features, np.float64), batch.num_frames
            if joint_frames and not own.frame_level:
                values = values.sum(1) / counts[:, None]
                counts = np.ones_like(counts)
            elif joint_frames and own.max_frames < wide.max_frames:
                values = values[:, : own.max_frames]
                counts = np.minimum(counts, own.max_frames)
            columns = {"rgb": slice(0, 6), "audio": slice(6, 8)}
            names = [name.removeprefix("mean_") for name in own.names]
            values = np.concatenate([values[..., columns[name]] for name in names], -1)
            found.append(model.predict(values.astype(np.float32), counts))
        return np.concatenate(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("members", "names"),
    [
        (FRAME_MEMBERS, "rgb,audio"),
        (FRAME_MEMBERS | VIDEO_MEMBERS, "rgb,audio"),
        ({"audio": FRAME_MEMBERS["audio"]} | VIDEO_MEMBERS, "audio,rgb"),
        (VIDEO_MEMBERS, "mean_rgb,mean_audio"),
    ],
    ids=["frames", "both levels", "audio frames with means", "means"],
)
def test_each_member_scores_as_it_does_on_its_own_features(tmp_path, members, names):
    joint_frames = "mean" not in names
    paths = write_members(tmp_path, members)
    make = frames_of if joint_frames else lambda index: make_means(index, rgb=6)
    records = write_shards(tmp_path, make)
    bundle = tmp_path / "blend"
    merge_models(members=paths, out=str(bundle), mix="logit")

    flags = json.loads((bundle / "model_flags.json").read_text())
    assert flags["feature_names"] == names
    assert flags["frame_features"] is joint_frames
    merged = in_memory(models=[str(bundle)], data=f"{tmp_path}/*.tfrecord")
    apart = in_memory(models=paths, data=f"{tmp_path}/*.tfrecord")
    assert merged.members == apart.members == tuple(members)
    for position, path in enumerate(paths):
        expected = own_scores(path, records, joint_frames=joint_frames)
        np.testing.assert_allclose(merged.scores[position], expected, atol=1e-6)
        np.testing.assert_allclose(apart.scores[position], expected, atol=1e-6)

    package_model(model=str(bundle), out=str(tmp_path / "blend.tgz"))
    verify_bundle(path=str(tmp_path / "blend.tgz"), data=f"{tmp_path}/*.tfrecord")
    extract_members(ensemble=str(bundle), out=str(tmp_path / "parts"))
    parts = [f"{name}={tmp_path / 'parts' / name}" for name in members]
    again = in_memory(models=parts, data=f"{tmp_path}/*.tfrecord")
    np.testing.assert_array_equal(again.scores, merged.scores)


def test_members_of_the_same_features_are_left_as_they_are(tmp_path):
    members = {"a": ("FrameLevelLogisticModel", FRAME), "b": ("DbofModel", FRAME)}
    with open_models(write_members(tmp_path, members)) as models:
        assert share_features(models) == models


def test_each_slice_is_normalized_once(tmp_path):
    """Four members of two slices normalize twice."""
    kinds = {"a": FRAME, "b": AUDIO, "c": FRAME, "d": AUDIO}
    members = {name: ("FrameLevelLogisticModel", spec) for name, spec in kinds.items()}
    counts = {}
    for names in ("a", "ab", "abcd"):
        paths = write_members(tmp_path / names, {n: members[n] for n in names})
        merge_models(members=paths, out=str(tmp_path / f"m{names}"))
        with open_model(str(tmp_path / f"m{names}")) as model:
            counts[names] = sum(node.op == "Rsqrt" for node in model.graph.graph_def.node)
    assert counts["ab"] == counts["abcd"] == 2 * counts["a"] > 0


def tuned_obstacle(folder, **members):
    """Return what `tune-weights` says of merging the members of a cache for each."""
    rng = np.random.default_rng(0)
    scores, labels = rng.random((1, 60, 21), np.float32), rng.random((60, 21)) < 0.1
    video_ids = np.array([f"v{i}".encode() for i in range(60)])
    paths = []
    for name, features in members.items():
        paths.append(str(folder / f"{name}.h5"))
        if features is None:
            write_predictions(paths[-1], video_ids, {name: scores[0]}, labels)
            continue
        with PredictionsWriter(
            paths[-1], members=[name], digests=["d"], num_classes=21, features=features
        ) as writer:
            writer.append(video_ids, scores, labels)
            writer.end_shard("s")
    tuned = tune_weights(predictions=paths, folds=2, bootstrap=20)
    assert plan_tune_weights(predictions=paths).merge_obstacle == tuned.merge_obstacle
    return tuned.merge_obstacle


def test_tuning_says_why_its_members_cannot_be_merged(tmp_path):
    other = FeatureSpec(("rgb",), (5,), frame_level=True)
    assert tuned_obstacle(tmp_path, a=[FRAME], b=[AUDIO]) is None
    assert tuned_obstacle(tmp_path, c=[FRAME], d=()) is None
    assert "reads 6 values of the feature 'rgb'" in tuned_obstacle(tmp_path, e=[FRAME], f=[other])
    assert "'g' would be fed with means" in tuned_obstacle(tmp_path, g=[VIDEO], h=[FRAME])
    assert "'j' is scores without a model" in tuned_obstacle(tmp_path, i=[FRAME], j=None)


def test_a_cache_says_what_its_members_were_fed_with(tmp_path):
    members = {"frames": FRAME_MEMBERS["both"], "sound": VIDEO_MEMBERS["sound"]}
    records = write_shards(tmp_path, frames_of, (4,))
    paths = write_members(tmp_path, members)
    predict_scores(models=paths, data=records[0], cache=str(tmp_path / "both.h5"))
    merge_predictions(parts=[str(tmp_path / "both.h5")], out=str(tmp_path / "joined.h5"))
    for name in ("both.h5", "joined.h5"):
        with open_predictions(str(tmp_path / name)) as cache:
            assert cache.header.features == (FRAME, FRAME)


def test_a_feature_of_two_sizes_is_refused(tmp_path):
    other = FeatureSpec(("mean_rgb",), (5,), frame_level=False)
    paths = write_members(tmp_path, {"a": ("LstmModel", FRAME), "b": ("LogisticModel", other)})
    message = "'a' reads 6 values of the feature 'rgb', 'b' 5"
    with pytest.raises(ModelError, match=message) as caught:
        merge_models(members=paths, out=str(tmp_path / "m"))
    assert caught.value.members == ("a", "b")
    assert not (tmp_path / "m").exists()


def test_two_features_that_would_be_one_mean_are_refused():
    both = FeatureSpec(("mean_rgb", "rgb"), (6, 6), frame_level=False)
    assert join_features({"a": both}).names == ("mean_rgb", "rgb")
    with pytest.raises(ModelError, match="two of them would be the mean of one"):
        join_features({"a": both, "b": FRAME})


def test_the_union_keeps_the_order_and_the_frames_of_the_largest():
    joint = join_features({"a": AUDIO, "b": SHORT, "c": MEANS_TURNED})
    assert joint == FeatureSpec(("rgb", "audio"), (6, 2), frame_level=True)
    assert feature_ranges(MEANS_TURNED, joint) == [(6, 8), (0, 6)]


@pytest.mark.slow
def test_a_model_of_means_scores_records_of_frames(tmp_path):
    """In `predict` and `eval`, which say so, and in `avg-ckpt`."""
    folder = tmp_path / "means"
    (path,) = write_members(tmp_path, {"means": ("MoeModel", MEANS_TURNED)})
    write_shards(tmp_path, frames_of)
    data = f"{tmp_path}/part*.tfrecord"
    note = "Fed with the means of each video's frames: 'means'."
    expected = own_scores(path, sorted(glob(data)), joint_frames=True)
    done = predict_scores(models=[path], data=data, cache=str(tmp_path / "c.h5"))
    assert isinstance(done, PredictResult)
    assert note in done.warnings
    with open_predictions(str(tmp_path / "c.h5")) as cache:
        np.testing.assert_allclose(cache.scores("means"), expected, atol=1e-6)
        labels = cache.labels
    assert labels is not None
    gap = global_average_precision(expected, labels.to_dense(0, 15))
    (found,) = evaluate_models(models=[str(folder)], data=data).evaluations
    assert found.report.metrics.gap == pytest.approx(gap, abs=1e-5)
    assert "Fed with the means" in found.warnings[0]
    flags = replace(small_flags("MoeModel", num_classes=21), features=MEANS_TURNED)
    write_train_dir(folder, flags, seed=9, step=2)
    averaged = average_checkpoints(
        prefix=str(folder),
        last="auto",
        eval_data=data,
        holdout=0.0,
        allow_different_runs=True,
        out=str(tmp_path / "a"),
    )
    (latest,) = evaluate_models(models=[str(folder)], data=data).evaluations
    assert averaged.choice is not None
    assert averaged.choice.num_videos == 15
    last = averaged.choice.candidates[0]
    assert last.gap == pytest.approx(latest.report.metrics.gap, abs=1e-5)
    assert "Fed with the means" in averaged.notes[0]
    words = ["avg-ckpt", f"--prefix={folder}", "--last=auto", f"--eval-data={data}", "--holdout=0"]
    words += ["--allow-different-runs", f"--out={tmp_path}/b"]
    assert averaged.notes[0] in CliRunner().invoke(cli, words).output
