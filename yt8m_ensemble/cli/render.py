"""Everything that people see: tables, JSON, progress bars. The only user of rich.

Holds no rule of any command: a command hands over a result and the tables that show it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import click

from yt8m_ensemble.errors import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from yt8m_ensemble.casting import CastReport

SHOW_AFTER_S = 2.0
LINE_EVERY_S = 10.0


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


class ProgressBar:
    """Show progress on standard error once a task has run for over two seconds.

    On a terminal a bar with rate and time left; elsewhere a plain line every ten seconds. An
    instance is a `Progress` callable, used as a context manager.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._name: str | None = None
        self._started = self._last_line = 0.0

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def __call__(
        self, task: str, done: float, total: float | None, *, unit: str = "", note: str = ""
    ) -> None:
        """Report progress; see `values.Progress`."""
        now = time.monotonic()
        if task != self._name:
            self._close()
            self._name, self._started, self._last_line = task, now, now
        elapsed = now - self._started
        if elapsed < SHOW_AFTER_S:
            return
        rate = f"{done / elapsed:,.1f} {unit}/s"
        if self._terminal:
            self._draw(task, done, total, f"{rate} {note}")
        elif now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            of = f"/{total:,.0f}" if total else ""
            left = f", {elapsed * (total - done) / done:,.0f} s left" if total and done else ""
            click.echo(f"{task}: {done:,.0f}{of} {unit}, {rate}{left} {note}".rstrip(), err=True)

    def _draw(self, task: str, done: float, total: float | None, note: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(task, total=total or 0, note=note)
        if self._task is not None:
            self._bar.update(self._task, completed=done, total=total or done, note=note)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = self._name = None


def print_tables(tables: Sequence[Table], text: str, *, to_stderr: bool) -> None:
    """Print tables and a closing text, on standard output or standard error."""
    if tables:
        from rich import box
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table as RichTable

        console = Console(stderr=to_stderr, highlight=False)
        if not console.is_terminal:
            # A pipe or file has no width; do not fold rows that a person or grep would read.
            console.width = 100_000
        for table in tables:
            # A title inside the table would be folded to its width.
            console.print(escape(printable(table.title)))
            drawn = RichTable(box=box.SIMPLE_HEAD)
            for position, column in enumerate(table.columns):
                drawn.add_column(
                    escape(printable(column, keep="")), justify="left" if position == 0 else "right"
                )
            for row in table.rows:
                drawn.add_row(*(escape(printable(cell, keep="")) for cell in row))
            console.print(drawn)
    if text:
        click.echo(printable(text), err=to_stderr)
