"""Importing the tuning room costs numpy and nothing heavier."""

import subprocess
import sys

import pytest

HEAVY = ["tensorflow", "h5py", "scipy", "numba", "matplotlib", "click", "rich"]


def loaded_by(module):
    code = f"import sys, {module}; print(*(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("room", ["tuning", "metrics", "mixing"])
def test_importing_a_numeric_room_loads_nothing_heavy(room):
    assert loaded_by(f"yt8m_ensemble.{room}") == []


def test_the_guard_sees_a_heavy_import():
    assert "scipy" in loaded_by("scipy.optimize")
