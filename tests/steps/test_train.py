"""`train_model`: what is checked before training, what is written, how a directory is reused."""

import json

import pytest
import tensorflow as tf
from click.testing import CliRunner

from tests.builders.models import FRAME, NUM_CLASSES, VIDEO, train_options
from tests.builders.records import write_learnable_records, write_video_records
from tests.faults.processes import dead_mark
from yt8m_ensemble.errors import DataError, ModelError, UsageError
from yt8m_ensemble.files import sha256
from yt8m_ensemble.options import FeatureOptions
from yt8m_ensemble.steps.train import choose_features, plan_train_model, split_settings, train_model

pytestmark = pytest.mark.tf

QUICK = {"batch_size": 32, "max_steps": 2}


@pytest.fixture(scope="module")
def glob(tmp_path_factory):
    return write_learnable_records(tmp_path_factory.mktemp("video"))


def step(
    glob, train_dir, *, model="MoeModel", features=VIDEO, settings=QUICK, run=train_model, **others
):
    return run(
        model=model, train_data=glob, train_dir=str(train_dir), num_classes=NUM_CLASSES,
        **train_options(features, settings), **others,
    )  # fmt: skip


def test_writes_flags_checkpoint_and_provenance(tmp_path, glob):
    made = step(glob, tmp_path / "run", settings={**QUICK, "moe_num_mixtures": 3})
    assert made.global_step == 2
    flags = json.loads((tmp_path / "run" / "model_flags.json").read_text())
    assert flags["model"] == "MoeModel"
    assert flags["moe_num_mixtures"] == 3
    assert flags["num_classes"] == NUM_CLASSES
    assert flags["feature_names"] == "mean_rgb,mean_audio"
    assert flags["label_loss"] == "CrossEntropyLoss"
    facts = json.loads((tmp_path / "run" / "train.provenance.json").read_text())
    assert facts["options"]["batch_size"] == 32
    assert facts["last_step"] == 2
    assert all(digest == sha256(path) for path, digest in facts["inputs"].items())
    assert len(facts["inputs"]) == 2


def test_records_too_large_to_hash_are_only_named(tmp_path, glob, monkeypatch):
    monkeypatch.setattr("yt8m_ensemble.steps.train.HASHED_BYTES", 10)
    step(glob, tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "train.provenance.json").read_text())
    assert set(facts["inputs"].values()) == {"not hashed"}


def test_settings_of_a_member_are_told_apart():
    settings = {"model": "MoeModel", "save_steps": 7, "moe_prob_gating": True}
    assert split_settings(settings) == ({"save_steps": 7}, {"moe_prob_gating": True})


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"moe_l3": 3}, ModelError, "MoeModel has no option 'moe_l3'; did you mean 'moe_l2'"),
        ({"lstm_cells": 3}, ModelError, "MoeModel has no option 'lstm_cells'"),
        ({"loss": "CrossEntropy"}, UsageError, 'did you mean "CrossEntropyLoss"'),
        ({"optimizer": "adam"}, UsageError, 'got "adam"; did you mean "Adam"'),
        ({"batch_size": "many"}, UsageError, 'expected an integer of at least 1, got "many"'),
        ({"moe_num_mixtures": "two"}, ModelError, "'moe_num_mixtures' of MoeModel: expected an"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, glob, settings, error, message):
    with pytest.raises(error, match=message):
        step(glob, tmp_path / "run", settings=settings)
    assert not (tmp_path / "run").exists()


def test_nothing_is_written_when_no_file_matches(tmp_path):
    with pytest.raises(DataError, match="No file matches"):
        step(str(tmp_path / "none*"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_levels_must_fit(tmp_path, glob):
    with pytest.raises(ModelError, match="MoeModel reads video-level features"):
        step(glob, tmp_path / "run", features=FRAME)


def test_a_dry_run_writes_nothing(tmp_path, glob):
    planned = step(glob, tmp_path / "run", run=plan_train_model)
    assert planned.global_step == 0
    assert planned.specs["tower/gates/weights"].shape == (8, 12)
    assert not (tmp_path / "run").exists()


def test_a_directory_of_another_model_is_refused(tmp_path, glob):
    step(glob, tmp_path / "run")
    with pytest.raises(ModelError, match="was trained with moe_num_mixtures=2, now it is 3") as e:
        step(glob, tmp_path / "run", settings={**QUICK, "moe_num_mixtures": 3, "max_steps": 3})
    assert e.value.different == {"moe_num_mixtures": (2, 3)}
    with pytest.raises(
        ModelError, match="trained with model='MoeModel', now it is 'LogisticModel'"
    ):
        step(glob, tmp_path / "run", model="LogisticModel")


def test_a_new_model_replaces_an_old_one_and_nothing_else(tmp_path, glob):
    step(glob, tmp_path / "run", settings={**QUICK, "max_steps": 3})
    (tmp_path / "run" / "notes.txt").write_text("mine")
    made = step(glob, tmp_path / "run", model="LogisticModel", start_new_model=True)
    assert made.global_step == 2
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert "notes.txt" in left
    assert not any("ckpt-3" in name for name in left)


def test_a_run_clears_and_mends_what_a_killed_one_left(tmp_path, glob):
    """Killed after the checkpoint had its name, and while another step was being saved."""
    directory = tmp_path / "run"
    step(glob, directory)
    state = (directory / "checkpoint").read_bytes()
    whole = {entry.name for entry in directory.iterdir() if "tfevents" not in entry.name}
    mark = dead_mark()
    for name in (".checkpoint", ".model.ckpt-3"):
        (directory / f"{name}{mark}").touch()
    (directory / "checkpoint").unlink()
    step(glob, directory)
    assert {entry.name for entry in directory.iterdir() if "tfevents" not in entry.name} == whole
    assert (directory / "checkpoint").read_bytes() == state


def test_a_run_of_the_starter_code_goes_on(tmp_path, glob):
    """The starter code writes few keys, and a model name that may be its flag's default."""
    step(glob, tmp_path / "run")
    path = tmp_path / "run" / "model_flags.json"
    path.write_text(json.dumps({
        "model": "LogisticModel", "feature_names": "mean_rgb,mean_audio", "feature_sizes": "6,2",
        "frame_features": False, "label_loss": "CrossEntropyLoss",
    }))  # fmt: skip
    assert step(glob, tmp_path / "run", settings={**QUICK, "max_steps": 3}).global_step == 3


@pytest.mark.parametrize(
    ("arguments", "names", "sizes"),
    [
        (("video", None, None), ("mean_rgb", "mean_audio"), (1024, 128)),
        (("frame", None, None), ("rgb", "audio"), (1024, 128)),
        (("frame", "rgb", None), ("rgb",), (1024,)),
        (("video", "a,b", "3,4"), ("a", "b"), (3, 4)),
    ],
)
def test_features_have_youtube_8ms_sizes(arguments, names, sizes):
    level, given_names, given_sizes = arguments
    spec = choose_features(
        FeatureOptions(features=level, feature_names=given_names, feature_sizes=given_sizes)
    )
    assert (spec.names, spec.sizes, spec.frame_level) == (names, sizes, level == "frame")


def test_sizes_of_other_features_are_asked_for():
    with pytest.raises(UsageError, match="size of feature 'mine' is not known") as caught:
        choose_features(FeatureOptions(feature_names="mean_rgb,mine"))
    assert caught.value.option == "--feature-sizes"


def test_the_command_trains(tmp_path, glob):
    from yt8m_ensemble.cli.root import cli

    arguments = [
        "train", "--model", "MoeModel", "--train-data", glob, "--train-dir", str(tmp_path / "run"),
        "--feature-sizes", "6,2", "--num-classes", "4", "--batch-size", "32", "--max-steps", "2",
        "--moe-prob-gating", "--json",
    ]  # fmt: skip
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["global_step"] == 2
    flags = json.loads((tmp_path / "run" / "model_flags.json").read_text())
    assert flags["moe_prob_gating"] is True


def test_defaults_of_an_option_are_all_in_its_help():
    from yt8m_ensemble.models import REGISTRY
    from yt8m_ensemble.options import architecture_fields, fields_of

    described = architecture_fields()
    for architecture in REGISTRY.values():
        for name, item in fields_of(architecture).items():
            shown = described[name]
            assert item.default == shown.default or str(item.default) in str(shown.spelling.default)


def test_a_remote_directory_starts_anew_like_a_local_one(tmp_path):
    """In TensorFlow's file system in memory, which is reached as `gs://` is."""
    write_video_records(tmp_path / "r.tfrecord")
    directory = f"ram://{tmp_path.name}/run"

    def train(steps, **more):
        return train_model(
            model="LogisticModel",
            train_data=f"{tmp_path}/r.tfrecord",
            train_dir=directory,
            feature_sizes="6,2",
            num_classes=4,
            batch_size=5,
            save_steps=2,
            max_steps=steps,
            **more,
        ).global_step

    assert train(4) == 4
    assert train(6) == 6
    assert train(2, start_new_model=True) == 2
    left = [name for name in tf.io.gfile.listdir(directory) if name.startswith("model.ckpt")]
    assert {name.split(".")[1] for name in left} == {"ckpt-2"}
