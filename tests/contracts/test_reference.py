"""`docs/commands.md` is what the commands say."""

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "make_reference.py"


def test_the_reference_is_up_to_date():
    made = runpy.run_path(str(SCRIPT))
    assert made["TARGET"].read_text() == made["reference"](), "Run `python docs/make_reference.py`."


@pytest.mark.parametrize("option", ["--holdout", "--moe-num-mixtures", "--fp16-policy", "--force"])
def test_the_reference_names_options(option):
    assert option in SCRIPT.with_name("commands.md").read_text()
