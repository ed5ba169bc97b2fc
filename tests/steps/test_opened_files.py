"""Every table and JSON of a command that opens models says which file it took, and its step."""

import json

import pytest
from click.testing import CliRunner

from tests.builders.models import small_flags, write_train_dir
from tests.builders.records import write_video_records
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.loading.model import OpenedFile

pytestmark = pytest.mark.tf


@pytest.fixture
def setting(tmp_path):
    for step in (12, 60):
        write_train_dir(tmp_path / "a", small_flags("LogisticModel"), seed=step, step=step)
    write_video_records(tmp_path / "r.tfrecord", seed=0)
    return tmp_path


COMMANDS = {
    "predict": ["predict", "--model", "{}/a", "--data", "{}/r.tfrecord", "--csv", "{}/o.csv"],
    "predict --dry-run": [
        *["predict", "--model", "{}/a", "--data", "{}/r.tfrecord", "--csv", "{}/o.csv"],
        "--dry-run",
    ],
    "merge": ["merge", "--member", "{}/a", "--out", "{}/blend"],
    "inspect --graph": ["inspect", "{}/a", "--graph"],
    "eval": ["eval", "--model", "{}/a", "--data", "{}/r.tfrecord"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_newest_checkpoint_is_named(setting, name):
    words = [word.format(setting) for word in COMMANDS[name]]
    file = f"{setting}/a/model.ckpt-60"
    text = CliRunner().invoke(cli, words)
    assert text.exit_code == 0, text.output
    assert file in text.output
    force = ["--force"] if name in {"predict", "merge"} else []
    result = CliRunner().invoke(cli, [*words, *force, "--json"])
    found = json.loads(result.stdout)
    opened = found["evaluations"][0] if "evaluations" in found else found["opened"]
    opened = opened[0] if isinstance(opened, list) else opened
    assert (opened["file"], opened["global_step"]) == (file, 60)


def test_a_file_without_its_step_in_the_name_shows_it():
    assert OpenedFile("a", "d", "d/inference_model", 1200).label == "d/inference_model (step 1,200)"
    assert OpenedFile("a", "d", "d/model.ckpt-60", 60).label == "d/model.ckpt-60"
    assert OpenedFile("a", "f.pb", "f.pb", None).label == "f.pb"
