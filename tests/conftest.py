"""Fixtures that every test folder shares."""

import os
from pathlib import Path

import hypothesis
import pytest

# What a case takes depends on the machine, and on whether machine code has to be compiled first.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")
# Set before any test imports TensorFlow: its chatter would fill the report.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of files that the original code wrote."""
    folder = os.environ.get("YT8M_SHARED")
    if not folder:
        pytest.skip("Set YT8M_SHARED to the folder of original files to run this test.")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def fixtures(shared: Path) -> Path:
    """Checkpoints, graphs, archives and predictions written under TensorFlow 1.15."""
    return shared / "fixtures"
