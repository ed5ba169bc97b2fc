"""Progress on a terminal, in a log, and in silence."""

import gc
import io
import re
import threading

import click
import numba
import pytest
from click.testing import CliRunner

import yt8m_ensemble as yt
from tests.builders.predictions import make_predictions
from yt8m_ensemble.cli import progress_bar
from yt8m_ensemble.cli.progress_bar import ProgressBar, command_progress
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.cli.run import _line
from yt8m_ensemble.metrics import compiling
from yt8m_ensemble.recipe import StepOutcome


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def still(monkeypatch):
    """Nothing is drawn between two reports."""
    monkeypatch.setattr(ProgressBar, "_tick", lambda _: None)


@pytest.mark.usefixtures("still")
def test_progress_is_silent_at_first_and_then_prints_lines(capsys, clock):
    with ProgressBar() as progress:
        progress("work", 0, 100, unit="steps")
        clock[0] = 1.9
        progress("work", 1, 100, unit="steps")
        assert capsys.readouterr().err == ""
        clock[0] = 10.0
        progress("work", 50, 100, unit="steps", note="loss 1")
        progress("work", 51, 100, unit="steps")
    shown = capsys.readouterr().err
    assert shown == "work: 50/100 steps, 5.0 steps/s, 10 s left, loss 1\n"


def test_a_task_that_does_not_report_is_seen_to_go_on(clock, monkeypatch):
    lines: list[str] = []
    printed = threading.Event()

    def echo(text, **_):
        lines.append(text)
        printed.set()

    monkeypatch.setattr(click, "echo", echo)
    monkeypatch.setattr(progress_bar, "TICK_S", 0.01)
    with ProgressBar("tune-weights"):
        clock[0] = 12.0
        assert printed.wait(60)
    assert lines == ["tune-weights: 12 s so far"]


@pytest.mark.parametrize(
    ("reports", "text"),
    [
        ([(0, None)], "20 s so far"),
        ([(0, 6)], "0/6 fits, 20 s so far"),
        ([(0, 6), (2, 6)], "2/6 fits, 10 s each, 40 s left"),
        ([(0, None), (60_000, None)], "60,000 fits, 3,000 fits/s"),
        ([(0, 1e5), (60, 1e5)], "60/100,000 fits, 3.0 fits/s, 9 h 15 min left"),
        ([(900, 1000), (950, 1000)], "950/1,000 fits, 2.5 fits/s, 20 s left"),
    ],
    ids=["nothing", "no rate", "slow", "no end", "long", "resumed"],
)
@pytest.mark.usefixtures("still")
def test_how_much_how_fast_how_long(capsys, clock, reports, text):
    with ProgressBar() as progress:
        for done, total in reports:
            progress("a", done, total, unit="fits")
            clock[0] = 20.0
        progress("a", *reports[-1], unit="fits")
    assert capsys.readouterr().err == f"a: {text}\n"


@pytest.mark.usefixtures("still")
def test_a_terminal_gets_one_line_that_fits_and_is_wiped(clock, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    name = "[12/28] real/train/a-member-of-a-very-long-name: train NetVLADModelLF \x1b[2J"
    with ProgressBar() as progress:
        progress(name, 0, 230_000, unit="examples")
        clock[0] = 5.0
        progress(name, 12_000, 230_000, unit="examples", note="loss 5.12345")
        progress.say("[11/28] done")
    drawn = screen.getvalue()
    assert "12,000/230,000 examples, 2,400 examples/s, 1 min 31 s" in drawn
    assert "\x1b[2J" not in drawn
    assert drawn.endswith("[11/28] done\n")
    for line in re.split(r"[\r\n]", re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", drawn)):
        assert len(line) <= 80


@pytest.mark.parametrize("flag", ["--quiet", "-q"])
def test_a_quiet_command_shows_no_progress(monkeypatch, flag):
    @click.command()
    def work():
        with command_progress() as progress:
            progress("task", 1, 2)
            progress.say("a step")
            click.echo(f"quiet {progress._is_quiet}")

    monkeypatch.setitem(cli.commands, "work", work)
    assert CliRunner().invoke(cli, [flag, "work"]).output == "quiet True\n"
    assert CliRunner().invoke(cli, ["work"]).output == "a step\nquiet False\n"


def test_long_commands_over_caches_tell_what_they_are_at(tmp_path):
    scores, labels = make_predictions(60, 30, 2)
    paths = [str(tmp_path / f"{name}.h5") for name in "ab"]
    for path in paths:
        ids = [f"v{n}" for n in range(60)]
        yt.write_predictions(path, ids, {"a": scores[0], "b": scores[1]}, labels)
    tasks: list[str] = []

    def note(task, *_, **__):
        tasks.append(task)

    yt.tune_weights(predictions=paths[:1], folds=2, bootstrap=9, progress=note)
    assert {"tune", "choose and judge"} <= set(tasks)
    yt.compare_predictions(predictions=paths[:1], progress=note)
    yt.compare_predictions(before_and_after=paths, progress=note)
    assert {"compare members", "test for equivalence"} <= set(tasks)
    yt.select_ensemble(predictions=paths[:1], sizes={"a": 9, "b": 9}, progress=note)
    assert "select" in tasks


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        (StepOutcome("a", "ran", 75.0, "", 1, 3), "[1/3] a: ran in 1 min 15 s"),
        (StepOutcome("a", "done before", 0.0, "x", 2, 3), "[2/3] a: skipped, x"),
        (StepOutcome("a", "would run", 0.0, "", 3, 3), "[3/3] a: would run"),
    ],
    ids=["ran", "skipped", "dry run"],
)
def test_a_step_is_told_with_its_place_and_reason(outcome, line):
    assert _line(outcome) == line


def test_the_first_compilation_of_inner_loops_is_told_once(capsys, monkeypatch):
    monkeypatch.setattr(compiling._LISTENER, "_is_told", False)
    with ProgressBar("tune-weights"):
        assert numba.njit(lambda x: x + 1)(1) == 2
        assert numba.njit(lambda x: x + 2)(1) == 3
    monkeypatch.setattr(compiling._LISTENER, "_is_told", False)
    with ProgressBar("tune-weights", is_quiet=True):
        assert numba.njit(lambda x: x - 1)(1) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "Compiling" in line]
    assert told == ["Compiling inner loops for this machine, which later runs need not do."]


@pytest.mark.parametrize("is_enabled", [True, False])
def test_compiling_leaves_the_garbage_collector_as_it_was(is_enabled):
    def refused(x):
        return x.no_such_attribute

    before = gc.isenabled()
    try:
        (gc.enable if is_enabled else gc.disable)()
        assert numba.njit(lambda x: x * 2)(2) == 4
        assert gc.isenabled() is is_enabled
        with pytest.raises(numba.TypingError):
            numba.njit(refused)(1)
        assert gc.isenabled() is is_enabled
    finally:
        (gc.enable if before else gc.disable)()
