"""The layer line of `pyproject.toml` holds, and the checker would see it broken."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.path.insert(0, '.'); "
            "from importlinter.cli import lint_imports_command as lint; lint()",
        ],
        cwd=directory,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_imports_point_down_only():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


def test_the_checker_sees_an_import_that_points_up(tmp_path):
    shutil.copytree(ROOT / "yt8m_ensemble", tmp_path / "yt8m_ensemble")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    constants = tmp_path / "yt8m_ensemble" / "constants.py"
    constants.write_text(constants.read_text() + "\nimport yt8m_ensemble.values\n")
    done = lint(tmp_path)
    assert done.returncode == 1
    assert "yt8m_ensemble.constants" in done.stdout
