"""Progress on standard error: one style for every command, with rate and time left.

Knows no command; draws nothing in the first two seconds of a task.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from yt8m_ensemble.errors import printable
from yt8m_ensemble.progress import listen

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

SHOW_AFTER_S: Final = 2.0
LINE_EVERY_S: Final = 10.0
TICK_S: Final = 0.2
BAR_WIDTH: Final = 20
_MINUTES_AN_HOUR: Final = 60
_PLAIN_RATE: Final = 100
_PLAIN_SECONDS: Final = 10
"""From here on a rate, or a time, is shown without decimals."""


class ProgressBar:
    """Show progress on standard error once a task has run for over two seconds.

    On a terminal a line with a bar, redrawn as time passes; elsewhere a plain line every ten
    seconds. Both say how much is done, how fast, and how long the rest takes. An instance is a
    `Progress` callable, used as a context manager.

    Args:
        task: What is being done until the first report.
        is_quiet: Show nothing.
    """

    def __init__(self, task: str = "", *, is_quiet: bool = False) -> None:
        self._is_quiet = is_quiet
        self._bar: RichProgress | None = None
        self._lock = threading.RLock()
        self._stopped = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self._report = _Report(task, time.monotonic())
        self._last_shown = 0.0
        self._notices = ExitStack()

    def __enter__(self) -> ProgressBar:
        if not self._is_quiet:
            self._ticker.start()
        self._notices.enter_context(listen(self.say))
        return self

    def __exit__(self, *_: object) -> None:
        self._notices.close()
        self._stopped.set()
        if self._ticker.is_alive():
            self._ticker.join()
        self._close()

    def __call__(
        self, task: str, done: float, total: float | None, *, unit: str = "", note: str = ""
    ) -> None:
        """Report progress; see `progress.Progress`."""
        if self._is_quiet:
            return
        with self._lock:
            now = time.monotonic()
            if task != self._report.task:
                self._close()
                self._report = _Report(task, now, done)
            self._report.done, self._report.total = done, total
            self._report.unit, self._report.note = unit, note
            self._show(now)

    def say(self, text: str) -> None:
        """Print a line that stays."""
        if not self._is_quiet:
            with self._lock:
                self._close()
                click.echo(text, err=True)

    def _tick(self) -> None:
        """Redraw between reports, so that a task that reports seldom is seen to go on."""
        while not self._stopped.wait(TICK_S):
            with self._lock:
                self._show(time.monotonic())

    def _show(self, now: float) -> None:
        """Show the last report if it is time to; called with the lock held."""
        report = self._report
        if now - report.started < SHOW_AFTER_S:
            return
        is_terminal = sys.stderr.isatty()
        if now - max(self._last_shown, report.started) < (TICK_S if is_terminal else LINE_EVERY_S):
            return
        self._last_shown = now
        if is_terminal:
            self._draw(report, report.text(now))
        else:
            click.echo(printable(f"{report.task}: {report.text(now)}", keep=""), err=True)

    def _draw(self, report: _Report, text: str) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, Progress, TextColumn

        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(BAR_WIDTH),
                TextColumn("{task.fields[text]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.add_task("", text="")
        name, text = _cut(report.task, text, self._bar.console.width - BAR_WIDTH - 2)
        self._bar.update(
            self._bar.task_ids[0],
            description=escape(name),
            completed=report.done,
            total=report.total,
            text=escape(text),
        )
        self._bar.start()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar = None


def command_progress() -> ProgressBar:
    """Return the progress bar of the running command, silent under `--quiet`."""
    context = click.get_current_context()
    is_quiet = bool(context.find_root().params.get("quiet"))
    return ProgressBar(context.info_name or "", is_quiet=is_quiet)


@dataclass
class _Report:
    """Last report of a task, and when the task began."""

    task: str
    started: float
    first: float = 0.0
    done: float = 0.0
    total: float | None = None
    unit: str = ""
    note: str = ""

    def text(self, now: float) -> str:
        """Return how much is done, how fast, how long the rest takes, and the note."""
        elapsed, gained = now - self.started, self.done - self.first
        unit = f" {self.unit}" if self.unit else ""
        total = self.total if (self.total or 0) >= self.done else None  # estimates may be too low
        parts = []
        if self.done or total:
            of = f"/{total:,.0f}" if total else ""
            parts.append(f"{self.done:,.0f}{of}{unit}")
        if gained > 0:
            rate = gained / elapsed
            each = f"{format_duration(1 / rate)} each"
            decimals = 0 if rate >= _PLAIN_RATE else 1
            parts.append(f"{rate:,.{decimals}f}{unit}/s" if rate >= 1 else each)
            if total:
                parts.append(f"{format_duration((total - self.done) / rate)} left")
        else:
            parts.append(f"{format_duration(elapsed)} so far")
        return ", ".join([*parts, *([self.note] if self.note else [])])


def _cut(name: str, text: str, room: int) -> tuple[str, str]:
    """Return both cut to a number of columns: first the note at the text's end, then the name.

    Examples:
        >>> _cut("predict", "10/20 videos", 30), _cut("a long name", "10/20", 9)
        (('predict', '10/20 videos'), ('…ame', '10/20'))
    """
    name, text = printable(name, keep=""), printable(text, keep="")
    text = text[: max(room - 1, 0)]
    left = max(room - len(text), 1)
    return (name if len(name) <= left else f"…{name[len(name) - left + 1 :]}"), text


def format_duration(seconds: float) -> str:
    """Return a time the way people read it.

    Examples:
        >>> [format_duration(seconds) for seconds in (0.42, 59, 150, 9000)]
        ['0.4 s', '59 s', '2 min 30 s', '2 h 30 min']
    """
    if seconds < _PLAIN_SECONDS:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < _MINUTES_AN_HOUR:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
