"""Every command explains itself: help, an example, a place in the README, a line of its own."""

import re
from pathlib import Path

import click
import pytest

from yt8m_ensemble.cli.root import cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
OVERVIEW = (ROOT / "docs" / "overview.md").read_text()
LEAVES = sorted(
    (f"{name} {leaf}" if leaf else name, command)
    for name, group in cli.commands.items()
    for leaf, command in (
        group.commands.items() if isinstance(group, click.Group) else (("", group),)
    )
)


@pytest.mark.parametrize(("name", "command"), LEAVES, ids=[name for name, _ in LEAVES])
def test_a_command_has_help_and_an_example_and_a_line_of_its_own(name, command):
    assert command.help
    assert f"yt8m-ens {name}" in (command.epilog or "")
    assert f"`{name.split()[0]}`" in README
    assert f"\n| `{name.split()[0]}` | " in OVERVIEW
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or parameter.help, parameter.name


@pytest.mark.parametrize(("name", "command"), LEAVES, ids=[name for name, _ in LEAVES])
def test_an_example_uses_options_that_exist(name, command):
    known = {option for parameter in command.params for option in parameter.opts} | {
        option for parameter in command.params for option in parameter.secondary_opts
    }
    for example in re.findall(rf"yt8m-ens {name} (.*)", command.epilog or ""):
        for option in re.findall(r"(?<!\S)--[a-z0-9-]+", example):
            assert option in known, option


def test_every_command_that_reads_a_result_can_print_json():
    for name, command in LEAVES:
        names = {parameter.name for parameter in command.params}
        assert "as_json" in names, name
