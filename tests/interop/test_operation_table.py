"""The table of operations that ships is what TensorFlow 1.14 itself lists."""

import os
import subprocess
from importlib import resources
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("make_operation_table.py")


def test_the_table_can_be_made_again(tf1_python):
    made = subprocess.run(
        [tf1_python("1.14.0"), "-I", "-W", "ignore", str(SCRIPT)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    shipped = resources.files("yt8m_ensemble.packaging").joinpath("tensorflow_1_14.json")
    assert made.stdout == shipped.read_text()
    assert len(made.stdout) < 300_000
