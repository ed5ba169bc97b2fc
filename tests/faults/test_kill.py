"""A fixed budget of kills of each command that replaces an output: `kill.py` says what is lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.processes import environment

pytestmark = [pytest.mark.tf, pytest.mark.slow]


@pytest.mark.parametrize(
    ("command", "budget"),
    [("avg-ckpt", 60), ("merge-predictions", 40), ("merge", 10), ("predict", 10), ("train", 70)],
)
def test_killed_anywhere_the_old_output_or_the_new_one_is_there(command, budget):
    driver = Path(__file__).with_name("kill.py")
    done = subprocess.run(
        [sys.executable, driver, "--commands", command, "--budget", str(budget)],
        capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["lost"] == []
    assert found["kills"] >= budget // 2
    assert found["old"] > 0
    assert found["new"] > 0
