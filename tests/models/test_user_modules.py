"""Architectures of a user's own, registered by a file that `--import` names."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.builders.records import write_video_records
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.errors import RecipeError, UsageError
from yt8m_ensemble.models.user_modules import import_files

pytestmark = pytest.mark.tf

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_architecture.py"

STEPS = [
    "train --model TwoLayerModel --option hidden_size=9 --train-data r/*.tfrecord --train-dir t "
    "--feature-sizes 32,8 --num-classes 25 --batch-size 50 --max-steps 4 --save-steps 2",
    "avg-ckpt --prefix t --last auto --eval-data r/*.tfrecord --out a",
    "eval --model t --data r/*.tfrecord --json",
    "merge --member mine=t --out m",
    "predict --model t --data r/*.tfrecord --csv out.csv",
    "inspect t --graph",
]


@pytest.mark.slow
def test_every_command_takes_them(tmp_path):
    shutil.copy(EXAMPLE, tmp_path / "mine.py")
    run = "import sys; from yt8m_ensemble.__main__ import main; main()"

    def call(words):
        command = [sys.executable, "-c", run, *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    sizes = ["--videos", "120", "--classes", "25", "--feature-sizes", "32,8"]
    made = call(["synth", "--out", "r", *sizes])
    assert made.returncode == 0, made.stderr
    without = call(STEPS[0].split())
    assert without.returncode == 1
    assert "TwoLayerModel" in without.stderr
    for step in STEPS:
        done = call([*step.split(), "--import", "mine.py"])
        assert done.returncode == 0, (step, done.stderr)
        if "--json" in step:
            assert json.loads(done.stdout)["evaluations"][0]["architecture"] == "TwoLayerModel"
    flags = json.loads((tmp_path / "t/model_flags.json").read_text())
    assert flags["hidden_size"] == 9
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 121


def test_options_of_any_type_are_text_on_the_command_line(tmp_path):
    text = EXAMPLE.read_text().replace("TwoLayerModel", "TypedModel")
    text = text.replace("hidden_size: int = 16", "hidden_size: int = 16\n    kind: str = 'a'")
    (tmp_path / "typed.py").write_text(text)
    write_video_records(tmp_path / "r.tfrecord")
    words = f"train --model TypedModel --import {tmp_path}/typed.py --train-data {tmp_path}/r*"
    words += f" --train-dir {tmp_path}/t --feature-sizes 6,2 --num-classes 4 --max-steps 1"
    wanted = [*words.split(), "--option", "kind=2MB", "--option", "hidden_size=5"]
    done = CliRunner().invoke(cli, wanted)
    assert done.exit_code == 0, done.output
    flags = json.loads((tmp_path / "t/model_flags.json").read_text())
    assert (flags["kind"], flags["hidden_size"]) == ("2MB", 5)
    done = CliRunner().invoke(cli, [*words.split(), "--option", "hidden_size=wide"])
    assert "'hidden_size' of TypedModel: expected an integer" in str(done.exception)


def test_a_recipe_names_them(tmp_path):
    from yt8m_ensemble.recipe.document import load_recipe

    text = EXAMPLE.read_text().replace("TwoLayerModel", "RecipeModel")
    (tmp_path / "mine.py").write_text(text)
    recipe = """
imports = ["FILE"]
out = "o"
[ensembles.e]
train_data = "t*"
validate_data = "v*"
features = "video"
num_classes = 4
[ensembles.e.train]
max_steps = 3
[ensembles.e.members.a]
model = "RecipeModel"
own_options = { hidden_size = 9 }
""".replace("FILE", str(tmp_path / "mine.py"))
    (tmp_path / "r.toml").write_text(recipe)
    member = load_recipe(str(tmp_path / "r.toml")).ensembles[0].members["a"]
    assert (member["model"], member["own_options"]) == ("RecipeModel", {"hidden_size": 9})
    (tmp_path / "r.toml").write_text(recipe.replace("hidden_size", "hidden_sise"))
    with pytest.raises(RecipeError, match="did you mean 'hidden_size'"):
        load_recipe(str(tmp_path / "r.toml"))


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "wants a Python file"), ("1 / 0", "ZeroDivisionError"), ("x x", "SyntaxError")],
)
def test_a_file_that_is_none_or_fails_is_named(tmp_path, content, message):
    path = tmp_path / "mine.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        import_files([str(path)])
    assert caught.value.details["path"] == str(path)
