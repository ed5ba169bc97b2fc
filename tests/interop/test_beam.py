"""The Beam runner passes its tests beside Apache Beam, which wants an older protobuf than usual."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_beam_runner_works_beside_tensorflow(beam_packages):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([beam_packages, str(ROOT)])}
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "tests/scoring/test_beam.py"],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].startswith("4 passed"), done.stdout
