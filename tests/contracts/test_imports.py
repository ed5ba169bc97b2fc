"""Rules about what may be loaded when. Each has a twin that breaks the rule and is caught."""

import subprocess
import sys

import pytest

HEAVY = ("tensorflow", "h5py", "numpy", "scipy", "rich", "matplotlib", "numba")
NUMERIC_ROOMS = ("tuning", "averaging", "casting", "metrics", "mixing", "values", "checkpoints")


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter loads to run some code."""
    report = f"{code}\nimport sys; print(' '.join({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.splitlines()[-1].split())


HELP = """
import contextlib, io
from yt8m_ensemble.cli.root import cli
for name in ["", *cli.commands]:
    with contextlib.redirect_stdout(io.StringIO()):
        cli.main([*name.split(), "--help"], standalone_mode=False)
"""


def heavy_modules_of_help(extra: str = "") -> set[str]:
    return loaded_by(extra + HELP) & set(HEAVY)


def test_help_of_every_command_loads_no_heavy_package():
    assert heavy_modules_of_help() == set()


def test_the_guard_of_help_sees_a_heavy_package():
    assert heavy_modules_of_help("import numpy") == {"numpy"}


@pytest.mark.parametrize("room", NUMERIC_ROOMS)
def test_rooms_that_can_do_without_tensorflow_do(room):
    blocked = "import sys; sys.modules['tensorflow'] = None\n"
    loaded = loaded_by(f"{blocked}import yt8m_ensemble.{room}")
    assert not loaded & {"h5py", "rich", "click", "matplotlib"}


def test_the_guard_of_rooms_sees_tensorflow():
    with pytest.raises(subprocess.CalledProcessError):
        loaded_by("import sys; sys.modules['tensorflow'] = None\nimport yt8m_ensemble.graphs")


def test_storage_needs_no_tensorflow():
    loaded_by("import sys; sys.modules['tensorflow'] = None\nimport yt8m_ensemble.storage")
