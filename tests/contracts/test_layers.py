"""The layer line of `pyproject.toml` holds, and the checker would see it broken."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

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


@pytest.mark.parametrize(
    ("module", "imported", "contract"),
    [
        ("constants", "values", "Imports point down only"),
        ("tuning.search", "tuning.tuners", "No imports run in a circle"),
    ],
)
def test_the_checker_sees_an_import_that_is_not_allowed(tmp_path, module, imported, contract):
    shutil.copytree(ROOT / "yt8m_ensemble", tmp_path / "yt8m_ensemble")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file = tmp_path / f"yt8m_ensemble/{module.replace('.', '/')}.py"
    file.write_text(f"{file.read_text()}\nimport yt8m_ensemble.{imported}\n")
    done = lint(tmp_path)
    assert done.returncode == 1
    assert f"{contract} BROKEN" in done.stdout


def test_the_page_on_the_design_shows_the_layers():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"]
    text = " ".join((ROOT / "docs" / "design.md").read_text().replace("`", "").split())
    assert " → ".join(layers) in text


@pytest.mark.parametrize(("package", "room"), [("matplotlib", "plotting"), ("rich", "cli")])
def test_one_room_alone_imports_the_package(package, room):
    graph = grimp.build_graph("yt8m_ensemble", include_external_packages=True, cache_dir=None)
    found = graph.find_modules_that_directly_import(package)
    assert {
        module for module in found if not f"{module}.".startswith(f"yt8m_ensemble.{room}.")
    } == set()
    assert found
