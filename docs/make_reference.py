"""Write `docs/commands.md` from the commands themselves: `python docs/make_reference.py`.

A test fails while the file is not what this prints.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from yt8m_ensemble.cli.root import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = Path(__file__).with_name("commands.md")


def reference() -> str:
    """Return the reference of every command as Markdown."""
    parts = [
        "# Commands\n",
        "Made from the program by `python docs/make_reference.py`; every option is a field of a",
        "dataclass in `yt8m_ensemble/options/`, by whose name the Python call takes it.",
        "\nBefore a command's name, as in `yt8m-ens --quiet run RECIPE`:\n",
        "| option | meaning |",
        "|---|---|",
        *map(_row, cli.params),
    ]
    for name, command in _leaves(cli, ""):
        parts += [f"\n## {name}\n", click.unstyle(command.help or "").strip(), ""]
        parts += ["| option | meaning |", "|---|---|"]
        parts += [_row(item) for item in command.params if not getattr(item, "hidden", False)]
        examples = (command.epilog or "").partition("Examples:\n")[2]
        lines = [line.strip() for line in examples.splitlines()]
        parts += ["", "```bash", *lines, "```"]
    return "\n".join(parts) + "\n"


def _leaves(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from _leaves(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def _row(item: click.Parameter) -> str:
    context = click.Context(click.Command("x"))
    record = item.get_help_record(context)
    if record is None:
        return f"| `{item.make_metavar(context)}` | What to work on. |"
    flags, text = (part.replace("|", "\\|").replace("\n", " ") for part in record)
    return f"| `{flags}` | {' '.join(text.split())} |"


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
