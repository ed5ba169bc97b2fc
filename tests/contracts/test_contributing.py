"""What contributors are told is so: paths exist, hooks are the checks of `.ci/run`."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
CHECKS = [
    line.removeprefix("$bin/")
    for line in (ROOT / ".ci" / "run").read_text().splitlines()
    if line.startswith("$bin/")
]


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:tests|yt8m_ensemble)/[^`]*)`", GUIDE)))
)
def test_a_path_that_the_guide_names_exists(path):
    assert (ROOT / path).exists()


def test_how_to_add_something_takes_under_ten_lines():
    parts = re.split(
        r"^\*\*an? ", GUIDE.split("## How to add")[1].split("\n## ")[0], flags=re.MULTILINE
    )
    assert [part.split("**")[0] for part in parts[1:]] == [
        "architecture",
        "command",
        "option",
        "storage scheme",
    ]
    assert max(len(part.strip().splitlines()) for part in parts) < 10


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_is_a_hook_and_in_the_guide(check):
    assert f"entry: .venv/bin/{check}, " in (ROOT / ".pre-commit-config.yaml").read_text()
    assert f".venv/bin/{check}\n" in GUIDE


def test_every_check_is_found():
    assert len(CHECKS) == 4
