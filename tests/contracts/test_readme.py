"""What the README shows is run, in order, in one directory."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.tf, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(
    r"<!-- example -->\n```(bash|python)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
)


def test_every_example_runs_as_written(tmp_path):
    assert len(EXAMPLES) == 5
    shim = tmp_path / "bin" / "yt8m-ens"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m yt8m_ensemble "$@"\n')
    shim.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{shim.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    for language, code in EXAMPLES:
        command = ["bash", "-euo", "pipefail", "-c", code]
        if language == "python":
            command = [sys.executable, "-c", code]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "submission.csv").read_text().startswith("VideoId,LabelConfidencePairs\n")
    assert (tmp_path / "blend.tgz").exists()


def test_the_test_line_is_the_one_that_ci_runs():
    text = (ROOT / "README.md").read_text()
    assert "<!-- test -->\n```bash\npython3.11 -m venv .venv && " in text
    assert "README.md" in (ROOT / ".ci" / "run").read_text()
