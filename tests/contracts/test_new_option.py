"""A field added to one options class is everywhere: the proof that options are written once."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OLD = '    method: Annotated[Method, option("Search method.")] = "nelder-mead"\n'
NEW = """    patience: Annotated[
        int, option("Mixtures without a better one to stop after.", ge=2, metavar="N")
    ] = 40
"""
RECIPE = """
out = "x"
[ensembles.e]
validate_data = "v"
features = "video"
num_classes = 3
tune.patience = {value}
[ensembles.e.members.a]
path = "a"
"""


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("changed")
    shutil.copytree(ROOT / "yt8m_ensemble", folder / "yt8m_ensemble")
    shutil.copytree(ROOT / "docs", folder / "docs")
    path = folder / "yt8m_ensemble" / "options" / "mixture.py"
    text = path.read_text()
    assert OLD in text
    path.write_text(text.replace(OLD, OLD + NEW))
    return folder


def run(folder, *command, code=0):
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_it_is_in_the_help(changed):
    shown = " ".join(run(changed, "-m", "yt8m_ensemble", "tune-weights", "--help").split())
    assert "--patience N Mixtures without a better one to stop after. [default: 40]" in shown


def test_it_is_in_the_signature_and_for_type_checkers(changed):
    code = "import inspect, yt8m_ensemble as yt; print(inspect.signature(yt.tune_weights))"
    assert "patience: int = 40" in run(changed, "-c", code)
    (changed / "script.py").write_text(
        "import yt8m_ensemble as yt\n"
        "yt.tune_weights(predictions=['a'], patience=3)\n"
        "yt.tune_weights(predictions=['a'], patience='long')\n"
    )
    arguments = ["-m", "mypy", "--strict", "--follow-imports=silent", "--config-file="]
    found = run(changed, *arguments, "script.py", code=1)
    assert "script.py:3: error" in found
    assert "script.py:2" not in found


def test_recipes_take_and_check_it(changed):
    code = "from yt8m_ensemble.recipe import load_recipe; load_recipe('r.toml')"
    (changed / "r.toml").write_text(RECIPE.format(value=7))
    run(changed, "-c", code)
    (changed / "r.toml").write_text(RECIPE.format(value=1))
    found = run(changed, "-c", code, code=1)
    assert "e.tune.patience: expected an integer of at least 2, got 1." in found
    schema = json.loads(run(changed, "-m", "yt8m_ensemble", "run", "--schema"))
    (ensemble,) = schema["properties"]["ensembles"]["patternProperties"].values()
    assert ensemble["properties"]["tune"]["properties"]["patience"]["minimum"] == 2


def test_provenance_and_the_reference_name_it(changed):
    code = (
        "from yt8m_ensemble.options import TuneOptions\n"
        "print(TuneOptions(predictions=['a'], patience=9).as_dict()['patience'])"
    )
    assert run(changed, "-c", code).strip() == "9"
    run(changed, "docs/make_reference.py")
    assert "`--patience N`" in (changed / "docs" / "commands.md").read_text()
