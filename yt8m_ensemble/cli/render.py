"""What people read of results: tables, closing texts, JSON.

Holds no rule of any command: a command hands over a result and the tables that show it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import click

from yt8m_ensemble.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table as RichTable

    from yt8m_ensemble.casting import CastReport

GAP, EDGES = 3, 4
"""Columns of the screen between two columns of a table, and beside it."""
LEAST_FIRST = 16
"""The first column is folded to no fewer than these before a table is printed in parts."""


@dataclass(frozen=True)
class Table:
    """A table: its title, its column heads, and rows of text."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def emit(result: object, *, as_json: bool, tables: Sequence[Table] = (), text: str = "") -> None:
    """Print a result: as JSON on standard output, or as tables and a closing text.

    With `as_json` the tables go to standard error, so that standard output is pure data.

    Args:
        result: A dataclass, mapping, or sequence of such.
        as_json: Whether `--json` was given.
        tables: What people read.
        text: A closing line or two.
    """
    print_tables(tables, text, to_stderr=as_json)
    if as_json:
        click.echo(json.dumps(to_jsonable(result), indent=2))


def to_jsonable(value: object) -> Any:
    """Return dataclasses, mappings, sequences, paths and numpy values as plain JSON values.

    NaN and infinities, which JSON lacks, become null.
    """
    return json.loads(json.dumps(value, default=_plain), parse_constant=lambda _: None)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.tolist() if hasattr(value, "tolist") else str(value)


def format_bytes(size: float) -> str:
    """Return a size the way people read it.

    Examples:
        >>> format_bytes(1_234_567)
        '1.23 MB'
    """
    power = max(0, min(3, (len(str(int(size))) - 1) // 3))
    return f"{size / 1000**power:.{2 if power else 0}f} {('B', 'kB', 'MB', 'GB')[power]}"


def cast_table(casts: Sequence[CastReport]) -> Table:
    """Return the table of what storing weights in fewer bits did to each."""
    rows = [
        [
            cast.name,
            f"{cast.size:,}",
            f"{cast.largest:.4g}",
            f"{cast.max_error:.3g}",
            f"{cast.mean_error:.3g}",
            f"{cast.underflow_share:.2%}",
            f"{cast.subnormal_share:.2%}",
        ]
        for cast in casts
    ]
    columns = ["tensor", "values", "largest", "max error", "mean error", "to zero", "subnormal"]
    return Table("Stored in fewer bits", columns, rows)


def print_tables(tables: Sequence[Table], text: str, *, to_stderr: bool) -> None:
    """Print tables and a closing text, on standard output or standard error.

    On a terminal a table that is too wide is printed in parts, each with its first column again.
    """
    if tables:
        from rich.console import Console
        from rich.markup import escape

        console = Console(stderr=to_stderr, highlight=False)
        if not console.is_terminal:
            # A pipe or file has no width; do not fold rows that a person or grep would read.
            console.width = 100_000
        for table in tables:
            # A title inside the table would be folded to its width.
            console.print(escape(printable(table.title)))
            for part in _fit(table, console.width):
                console.print(part)
    if text:
        click.echo(printable(text), err=to_stderr)


def _fit(table: Table, width: int) -> Iterator[RichTable]:
    """Yield a table as drawings that are no wider than a width; cells alone too wide are folded."""
    from rich import box
    from rich.cells import cell_len
    from rich.markup import escape
    from rich.table import Table as RichTable

    rows = [[printable(cell, keep="") for cell in row] for row in (table.columns, *table.rows)]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    room = width - EDGES
    beside = room - sum(widths[1:]) - GAP * len(widths[1:])
    first = min(widths[0], beside if beside >= LEAST_FIRST else room // 2)
    groups: list[list[int]] = [[]]
    left = room - first
    for position, wanted in list(enumerate(widths))[1:]:
        needed = min(wanted, room - first - GAP) + GAP
        if needed > left:
            groups.append([])
            left = room - first
        groups[-1].append(position)
        left -= needed
    for group in groups:
        drawn = RichTable(box=box.SIMPLE_HEAD)
        for position in (0, *group):
            drawn.add_column(
                escape(rows[0][position]),
                justify="right" if position else "left",
                overflow="fold",
                max_width=min(widths[position], room - first - GAP) if position else first,
            )
        for row in rows[1:]:
            drawn.add_row(*(escape(row[position]) for position in (0, *group)))
        yield drawn
