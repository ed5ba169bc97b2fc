import os
import re

import pytest

from tests.builders.models import small_flags, write_train_dir
from yt8m_ensemble.errors import CheckpointNotFoundError, DataError, ModelError
from yt8m_ensemble.loading.model import open_model, open_models

pytestmark = pytest.mark.tf


@pytest.fixture
def train_dir(tmp_path):
    for step in (3, 20):
        write_train_dir(tmp_path / "m", small_flags("LogisticModel"), step=step, seed=step)
    return tmp_path / "m"


@pytest.mark.parametrize(
    ("suffix", "name", "step"),
    [
        ("", "m", 20),
        ("@3", "m_3", 3),
        ("/model.ckpt-3", "m_3", 3),
        ("/model.ckpt-3.index", "m_3", 3),
    ],
)
def test_a_path_may_be_a_directory_a_step_or_a_prefix(train_dir, suffix, name, step):
    with open_model(f"{train_dir}{suffix}") as model:
        assert (model.name, int(model.source.read("global_step"))) == (name, step)
        assert (model.architecture, model.num_classes) == ("LogisticModel", 4)
        assert model.nbytes == 4 * (8 * 4 + 4)


def test_a_model_takes_the_name_that_it_is_given(train_dir):
    with open_model(f"best={train_dir}") as model:
        assert model.name == "best"


@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere", "There is no model at 'nowhere'"), ("m@7", r"No checkpoint at step 7 .*3, 20")],
)
def test_a_path_to_nothing_says_what_is_there(train_dir, monkeypatch, path, message):
    monkeypatch.chdir(train_dir.parent)
    with pytest.raises(CheckpointNotFoundError, match=message), open_model(path):
        pass


def test_missing_flags_are_named(train_dir):
    (train_dir / "model_flags.json").unlink()
    with pytest.raises(ModelError, match=r"model_flags\.json' is missing") as caught:
        open_model(str(train_dir)).__enter__()
    assert str(caught.value.path).endswith("m/model_flags.json")


@pytest.mark.parametrize(
    "name", ["model.ckpt-20.index", "model.ckpt-20.data-00000-of-00001", "model_flags.json"]
)
def test_a_named_pipe_in_a_files_place_is_not_waited_for(train_dir, name):
    (train_dir / name).unlink()
    os.mkfifo(train_dir / name)
    with pytest.raises(DataError, match=f"{name}' is no regular file"):
        open_model(str(train_dir)).__enter__()


@pytest.mark.parametrize("name", ["model_flags.json", "model.ckpt-20.provenance.json"])
def test_flags_of_gigabytes_are_not_read(train_dir, name):
    with (train_dir / name).open("wb") as file:
        file.truncate(1_900_000_000)
    with pytest.raises(DataError, match=f"{name}' has 1,900,000,000 bytes, of such a file at most"):
        open_model(str(train_dir)).__enter__()


def test_features_of_a_billion_values_are_refused(train_dir):
    path = train_dir / "model_flags.json"
    path.write_text(path.read_text().replace('"6,2"', '"1000000000,2"'))
    with pytest.raises(ModelError, match="make 1,000,000,002 values, at most 65,536 are read"):
        open_model(str(train_dir)).__enter__()


def test_what_scores_depend_on_besides_the_video_is_told(shared):
    for path, told in {
        "fixtures/google2018/DbofModel/model.tgz": "merge --fix-frames` takes evenly spaced frames",
        "foreign/unsound_dropout": "Bind what turns it off, as with",
        "foreign/unsound_default_true": "'is_training' in .* takes its default, True",
    }.items():
        with open_model(str(shared / path)) as model:
            assert model.depends_on_chance == ("default_true" not in path)
            assert re.search(told, model.notes[0])
    with open_model(str(shared / "fixtures/google2018/MoeModel/model.tgz")) as model:
        assert not model.depends_on_chance
        (note,) = model.notes
    assert "also holds 40 operations that may not run, such as CountUpTo" in note


def test_an_unknown_architecture_is_answered_with_the_nearest(train_dir):
    with pytest.raises(ModelError, match="did you mean 'LogisticModel'"):
        open_model(str(train_dir), architecture="LogisticModle").__enter__()


def test_two_models_need_two_names(train_dir):
    with (
        pytest.raises(ModelError, match="Two models are called 'm'"),
        open_models([str(train_dir), str(train_dir)]),
    ):
        pass


def test_data_that_was_cut_short_is_refused(train_dir):
    data = train_dir / "model.ckpt-20.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-8])
    from yt8m_ensemble.errors import CheckpointError

    with pytest.raises(CheckpointError, match=r"data-00000-of-00001"):
        open_model(str(train_dir)).__enter__()
