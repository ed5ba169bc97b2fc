"""The wheel, as a user installs it, runs a whole small recipe in every Python that we name."""

import re
import subprocess
import sys
import tomllib

import pytest

from tests.environments import ROOT

pytestmark = [pytest.mark.tf, pytest.mark.slow]

RECIPE = """
out = "run"
[synth.train]
videos = 300
classes = 25
feature_sizes = [6, 2]
level = "video"
[synth.validate]
videos = 200
classes = 25
feature_sizes = [6, 2]
level = "video"
[ensembles.e]
train_data = "{out}/records/train/*.tfrecord"
validate_data = "{out}/records/validate/*.tfrecord"
features = "video"
feature_sizes = "6,2"
num_classes = 25
[ensembles.e.train]
batch_size = 50
max_steps = 12
save_steps = 4
learning_rate = 0.05
[ensembles.e.members.logistic]
model = "LogisticModel"
[ensembles.e.members.moe]
model = "MoeModel"
[ensembles.e.average]
last = 2
[ensembles.e.tune]
bootstrap = 20
[ensembles.e.merge]
fp16 = "auto"
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the wheel's content."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    wheel = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)]
    done = subprocess.run([*pip, *wheel], check=False, capture_output=True, text=True)
    if done.returncode:  # no setuptools beside the tests
        wheel.remove("--no-build-isolation")
        subprocess.run([*pip, *wheel], check=True)
    (path,) = folder.glob("*.whl")
    home = folder / "packages"
    subprocess.run(
        [*pip, "install", "--quiet", "--no-deps", "--target", str(home), str(path)], check=True
    )
    return home


def named_versions():
    """Return the Pythons that the project says it runs under."""
    text = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    low, high = map(int, re.findall(r"3\.(\d+)", text))
    return [f"3.{minor}" for minor in range(low, high)]


@pytest.mark.parametrize("version", named_versions())
def test_a_recipe_runs_from_the_wheel(version, installed, product_python, tmp_path):
    own = f"{sys.version_info[0]}.{sys.version_info[1]}" == version
    python = sys.executable if own else product_python(version)
    (tmp_path / "r.toml").write_text(RECIPE)
    call = f"import sys; sys.path.insert(0, {str(installed)!r})\n"
    call += "from yt8m_ensemble.__main__ import main\n"
    call += f"import yt8m_ensemble; assert yt8m_ensemble.__file__.startswith({str(installed)!r})\n"
    call += "sys.argv = ['yt8m-ens', 'run', 'r.toml']; main()"
    done = subprocess.run(
        [python, "-P", "-c", call], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verified: run/e/e.tgz" in done.stderr + done.stdout
    assert (tmp_path / "run" / "report.html").exists()
