"""Every format of models that others write, by every command that takes a model: no hole."""

import json
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from yt8m_ensemble.data import encode_frames, encode_means, read_batches, write_records
from yt8m_ensemble.errors import CheckpointError, EnsembleError, GraphError, ModelError
from yt8m_ensemble.loading.model import open_model
from yt8m_ensemble.options import ModelOptions
from yt8m_ensemble.packaging import fresh_reader
from yt8m_ensemble.steps.avg_ckpt import average_checkpoints
from yt8m_ensemble.steps.edit import edit_weights
from yt8m_ensemble.steps.eval import evaluate_model
from yt8m_ensemble.steps.extract import extract_members
from yt8m_ensemble.steps.inspect import inspect_checkpoint
from yt8m_ensemble.steps.inspect_graph import inspect_graph
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.package import package_model
from yt8m_ensemble.steps.predict import predict_scores
from yt8m_ensemble.steps.select import select_ensemble
from yt8m_ensemble.steps.verify import verify_bundle
from yt8m_ensemble.storage import open_predictions

pytestmark = [pytest.mark.tf, pytest.mark.slow]

CLASSES = 30
VIDEO: dict[str, Any] = {"feature_names": "mean_rgb,mean_audio", "feature_sizes": "16,8"}
FRAME: dict[str, Any] = {"feature_names": "rgb,audio", "feature_sizes": "16,8"}

# By file: the options that it needs, the file and name of its expected scores.
MODELS: dict[str, tuple[dict[str, Any], str, str]] = {
    "saved_model_tf1": (VIDEO, "tf1", "saved_model_tf1"),
    "saved_model_tf2": (VIDEO | {"predictions_tensor": "scores"}, "tf2", "saved_model_tf2"),
    "keras3_export": (VIDEO, "tf2", "keras3"),
    "keras3.keras": (VIDEO, "tf2", "keras3"),
    "keras3_frame_logits.keras": (FRAME | {"logits": True}, "tf2", "keras3_frame_logits"),
    "keras_legacy.h5": (VIDEO, "tf1", "keras_legacy"),
    "frozen.pb": (VIDEO, "tf1", "frozen"),
}
VIDEO_MODELS = [name for name in MODELS if "frame" not in name]
# Weights without a model: every command that scores says so.
WEIGHTS = {
    "keras_legacy_weights.h5": "holds weights but no model",
    "keras3.weights.h5": "holds weights but no model",
    "sharded/net-1200": r"model_flags.json' is missing",
    "partitioned/model.ckpt-7": r"model_flags.json' is missing",
    "moving_averages/network-300": r"model_flags.json' is missing",
    "checkpoint_manager/ckpt-30": r"model_flags.json' is missing",
    "keras_tf_weights/ckpt": r"model_flags.json' is missing",
    "v1_format/model.ckpt-1200": "TensorFlow's first format",
}


@pytest.fixture(scope="module")
def foreign(shared):
    return shared / "foreign"


@pytest.fixture(scope="module")
def expected(foreign):
    files = {kind: np.load(foreign / f"expected_{kind}.npz") for kind in ("tf1", "tf2")}

    def find(name):
        options, kind, key = MODELS[name]
        x = files[kind]["frames_x" if "frame" in name else "x"]
        scores = files[kind][key]
        return x, 1 / (1 + np.exp(-scores)) if options.get("logits") else scores

    return find


@pytest.fixture(scope="module")
def records(expected, tmp_path_factory):
    """Records of the expected scores' inputs; frames are random bytes."""
    folder = tmp_path_factory.mktemp("records")
    for kind, name in (("tf1", "frozen.pb"), ("tf2", "keras3.keras")):
        videos = [
            encode_means(
                f"v{i:02d}".encode(), [i % CLASSES], {"mean_rgb": r[:16], "mean_audio": r[16:]}
            )
            for i, r in enumerate(expected(name)[0])
        ]
        write_records(str(folder / f"{kind}.tfrecord"), videos)
    drawn = np.random.default_rng(1).integers(0, 256, (9, 7, 24)).astype(np.uint8)
    frames = [
        encode_frames(f"v{i:02d}".encode(), [i], {"rgb": f[:, :16], "audio": f[:, 16:]})
        for i, f in enumerate(drawn)
    ]
    write_records(str(folder / "frame.tfrecord"), frames)

    def find(name):
        kind = MODELS[name][1] if name in VIDEO_MODELS else "frame"
        return str(folder / f"{kind}.tfrecord")

    return find


@pytest.mark.parametrize("name", MODELS)
def test_opened_in_memory_it_scores_as_its_author_saw(foreign, expected, name):
    x, scores = expected(name)
    with open_model(str(foreign / name), **MODELS[name][0]) as model:
        np.testing.assert_allclose(model.predict(x), scores, atol=2e-5)
        assert model.num_classes == CLASSES


@pytest.mark.parametrize("name", MODELS)
def test_a_merged_archive_scores_the_same_in_tensorflow_1(
    *, foreign, expected, tf1_python, tmp_path, name
):
    x, scores = expected(name)
    merge_models(members=[f"a={foreign / name}"], out=str(tmp_path / "m"), **MODELS[name][0])
    package_model(model=str(tmp_path / "m"), out=str(tmp_path / "m.tgz"))
    with fresh_reader(str(tmp_path / "m.tgz"), python=tf1_python("1.15.5")) as reader:
        found = reader.predict(x, np.full(len(x), x.shape[1] if x.ndim > 2 else 1, np.int32))
    np.testing.assert_allclose(found, scores, atol=2e-5)


def test_all_video_models_mix_in_one_archive(foreign, expected, tmp_path):
    one_output = [name for name in VIDEO_MODELS if name != "saved_model_tf2"]
    members = [f"m{i}={foreign / name}" for i, name in enumerate(one_output)]
    merge_models(members=members, out=str(tmp_path / "m"), **VIDEO)
    x, _ = expected("frozen.pb")
    alone = []
    for name in one_output:
        with open_model(str(foreign / name)) as model:
            alone.append(model.predict(x))
    with open_model(str(tmp_path / "m")) as model:
        np.testing.assert_allclose(model.predict(x), np.mean(alone, axis=0), atol=1e-6)
    package_model(model=str(tmp_path / "m"), out=str(tmp_path / "m.tgz"))
    assert all(check.is_ok for check in verify_bundle(path=str(tmp_path / "m.tgz")).checks)


@pytest.mark.parametrize("name", MODELS)
def test_records_are_scored_and_evaluated(*, foreign, expected, records, tmp_path, name):
    options, cache = MODELS[name][0], str(tmp_path / "c.h5")
    predict_scores(models=[f"a={foreign / name}"], data=records(name), cache=cache, **options)
    if name in VIDEO_MODELS:
        with open_predictions(cache) as opened:
            order = np.argsort(opened.video_ids)
            found = opened.scores("a")[order]
        np.testing.assert_allclose(found, expected(name)[1], atol=2e-5)
    report = evaluate_model(model=str(foreign / name), data=records(name), **options)
    assert 0 < report.report.metrics.gap < 1


@pytest.mark.parametrize("name", MODELS)
def test_inspect_shows_weights_and_graph(foreign, name):
    found = inspect_checkpoint(str(foreign / name))
    assert found.nbytes > 2_000
    graph = inspect_graph(str(foreign / name), **MODELS[name][0])
    assert (graph.num_classes, sum(graph.features.values())) == (CLASSES, 24)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_averaged_edited_and_no_ensemble(foreign, tmp_path, name):
    path = str(foreign / name)
    if name == "frozen.pb":
        with pytest.raises(CheckpointError, match="constants of its graph, which are not averaged"):
            average_checkpoints(prefix=path, out=str(tmp_path / "a"))
    else:
        done = average_checkpoints(prefix=path, out=str(tmp_path / "a"))
        assert done.num_tensors >= 3
    assert edit_weights(path, cast={"*": "float16"}, out=str(tmp_path / "e")).num_tensors >= 3
    with pytest.raises(GraphError, match="is no ensemble"):
        extract_members(path, out=str(tmp_path / "x"), **MODELS[name][0])


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_measured_for_a_byte_budget(foreign, tmp_path, records, name):
    options, cache = MODELS[name][0], str(tmp_path / "c.h5")
    predict_scores(models=[f"a={foreign / name}"], data=records(name), cache=cache, **options)
    found = select_ensemble(
        predictions=[cache], models=[f"a={foreign / name}"], space="probability", **options
    )
    assert found.selection.chosen.variants[0].member == "a"


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_without_a_model_are_named(foreign, records, tmp_path, name):
    path, out = str(foreign / name), str(tmp_path / "out")
    for call in (
        lambda: open_model(path).__enter__(),
        lambda: merge_models(members=[path], out=out),
        lambda: predict_scores(models=[path], data=records("frozen.pb"), cache=out),
        lambda: evaluate_model(model=path, data=records("frozen.pb")),
        lambda: inspect_graph(path),
    ):
        with pytest.raises(EnsembleError, match=WEIGHTS[name]):
            call()
    assert not list(tmp_path.iterdir())


def test_no_file_is_left_out(foreign):
    known = {name.partition("/")[0] for name in (*MODELS, *WEIGHTS)}
    there = {path.name for path in foreign.iterdir()} - {"README.md"}
    rest = {name for name in there - known if not name.startswith(("expected_", "unsound_"))}
    assert not rest


def test_a_recipe_takes_models_of_others(foreign, records, tmp_path):
    from yt8m_ensemble.recipe import load_recipe, run_recipe

    recipe = tmp_path / "r.toml"
    recipe.write_text(
        f'''out = "{tmp_path / "out"}"
[ensembles.e]
validate_data = "{records("frozen.pb")}"
features = "video"
feature_names = "mean_rgb,mean_audio"
feature_sizes = "16,8"
num_classes = {CLASSES}
[ensembles.e.members]
a.path = "{foreign / "frozen.pb"}"
b.path = "{foreign / "keras3.keras"}"
[ensembles.e.tune]
folds = 0
bootstrap = 2
'''
    )
    run_recipe(load_recipe(str(recipe)))
    assert (tmp_path / "out/e/e.tgz").exists()


def test_the_command_line_opens_keras_as_python_does(foreign, records, tmp_path):
    out = tmp_path / "c.csv"
    arguments = [
        "predict",
        "--model",
        f"{foreign / 'keras3.keras'}",
        "--data",
        records("frozen.pb"),
    ]
    names = ["--feature-names", "mean_rgb,mean_audio", "--feature-sizes", "16,8"]
    run = [sys.executable, "-m", "yt8m_ensemble", *arguments, *names, "--csv", str(out)]
    subprocess.run(run, check=True, capture_output=True)
    assert out.read_text().count("\n") == 51


def test_a_frozen_meta_graph_alone_is_a_model(foreign, tmp_path):
    """Weights as constants, no checkpoint beside them, no flags."""
    import tensorflow as tf

    meta = tf.compat.v1.MetaGraphDef()
    meta.graph_def.ParseFromString((foreign / "frozen.pb").read_bytes())
    counts = meta.graph_def.node.add(name="n", op="Placeholder")
    counts.attr["dtype"].type = tf.int32.as_datatype_enum
    for key, tensor in {
        "input_batch_raw": "features:0",
        "num_frames": "n:0",
        "predictions": "tower/predictions:0",
    }.items():
        meta.collection_def[key].node_list.value.append(tensor)
    (tmp_path / "m").mkdir()
    (tmp_path / "m/inference_model.meta").write_bytes(meta.SerializeToString())
    z = np.load(foreign / "expected_tf1.npz")
    with open_model(str(tmp_path / "m")) as model:
        np.testing.assert_allclose(model.predict(z["x"]), z["frozen"], atol=2e-5)


def test_flags_of_2019_lie_one_level_above(foreign, tmp_path):
    folder = tmp_path / "inference_model"
    shutil.copytree(foreign / "unsound_default_true", folder)
    (folder / "model_flags.json").rename(tmp_path / "model_flags.json")
    with open_model(str(folder)) as model:
        assert model.features.names == ("mean_rgb", "mean_audio")


def test_what_our_own_training_exports_is_a_model(tmp_path):
    from tests.builders.models import small_flags, train_options
    from tests.builders.records import write_learnable_records
    from yt8m_ensemble.steps.train import train_model

    for level, architecture in (("video", "LogisticModel"), ("frame", "DbofModel")):
        flags = small_flags(architecture)
        data = write_learnable_records(tmp_path / level, frame_level=level == "frame")
        settings = train_options(flags.features, {**flags.options, "max_steps": 3})
        train_model(model=architecture, train_data=data, train_dir=str(tmp_path / architecture),
                    **settings, num_classes=4, batch_size=16, export_steps=3)  # fmt: skip
        draw = np.random.default_rng(3)
        x = draw.normal(size=(5, 8) if level == "video" else (5, 7, 8)).astype(np.float32)
        with (
            open_model(str(tmp_path / architecture)) as trained,
            open_model(str(tmp_path / architecture / "export/step_3")) as exported,
        ):
            assert exported.features == trained.features
            np.testing.assert_allclose(exported.predict(x), trained.predict(x), atol=1e-6)


def test_options_reach_every_command():
    """`signature` and its like belong to all that open models."""
    from yt8m_ensemble import options

    for kind in ("MergeOptions", "PredictOptions", "EvalOptions", "SelectOptions",
                 "InspectGraphOptions"):  # fmt: skip
        assert issubclass(getattr(options, kind), ModelOptions)


def test_models_of_both_levels_mix_in_one_archive(foreign, records, tmp_path, tf1_python):
    """Options hold for models without flags; what needs others is merged alone first."""
    frames = "keras3_frame_logits.keras"
    merge_models(members=[f"f={foreign / frames}"], out=str(tmp_path / "f"), **MODELS[frames][0])
    members = [f"f={tmp_path / 'f'}", f"k={foreign / 'keras3.keras'}", f"p={foreign}/frozen.pb"]
    merge_models(members=members, out=str(tmp_path / "m"), mix="logit", **VIDEO)
    with open_model(str(tmp_path / "m")) as model:
        assert (model.features.names, model.features.frame_level) == (("rgb", "audio"), True)
    predict_scores(models=[str(tmp_path / "m")], data=records(frames), cache=f"{tmp_path}/c.h5")
    (batch,) = read_batches(
        [records(frames)], features=model.features, num_classes=CLASSES, batch_size=9
    )
    means = batch.features.sum(axis=1) / batch.num_frames[:, None]
    with open_predictions(str(tmp_path / "c.h5")) as cache:
        for name, path in (("k", "keras3.keras"), ("p", "frozen.pb")):
            with open_model(str(foreign / path), **VIDEO) as alone:
                found = cache.scores(name)
                np.testing.assert_allclose(found, alone.predict(means), atol=2e-6)
    package_model(model=str(tmp_path / "m"), out=str(tmp_path / "m.tgz"))
    verify_bundle(
        path=str(tmp_path / "m.tgz"),
        data=records(frames),
        against=str(tmp_path / "c.h5"),
        tf1=tf1_python("1.15.5"),
    )


@pytest.mark.parametrize("name", ["keras3.keras", "frozen.pb", "saved_model_tf1"])
def test_flags_beside_a_model_say_what_it_reads(foreign, expected, tmp_path, name):
    copy = shutil.copytree if (foreign / name).is_dir() else shutil.copy
    copy(foreign / name, tmp_path / name)
    place = (tmp_path / name if (tmp_path / name).is_dir() else tmp_path) / "model_flags.json"
    flags = {"feature_names": "mean_audio,mean_rgb", "feature_sizes": "8,16"}
    place.write_text(json.dumps(flags | {"frame_features": False}))
    x, scores = expected(name)
    with open_model(str(tmp_path / name)) as model:
        assert model.features.names == ("mean_audio", "mean_rgb")
        np.testing.assert_allclose(model.predict(x), scores, atol=2e-5)
    place.write_text(json.dumps(flags | {"frame_features": True}))
    with pytest.raises(ModelError, match="its flags say frame level"):
        open_model(str(tmp_path / name)).__enter__()
    place.write_text(json.dumps(flags | {"frame_features": False, "num_classes": 10**9}))
    with pytest.raises(ModelError, match=r"predicts 30 classes, but its .* says 1000000000"):
        open_model(str(tmp_path / name)).__enter__()
    place.write_text(json.dumps({"feature_names": "mean_rgb"}))
    with pytest.raises(ModelError, match="feature_sizes"):
        open_model(str(tmp_path / name)).__enter__()
