import json
from dataclasses import dataclass

import numpy as np

from yt8m_ensemble.cli import render
from yt8m_ensemble.errors import GraphError


@dataclass(frozen=True)
class Result:
    name: bytes
    values: np.ndarray
    worst: float


RESULT = Result(b"a", np.array([1.5, 2.0]), float("nan"))


def test_escape_sequences_in_names_are_shown_as_text(capsys):
    name = "a/\x1b[2J\x1b]0;title\x07\u202eb"
    rows = [[f"{name}\nok"]]
    render.emit({}, as_json=False, tables=[render.Table(name, [name], rows)], text=name)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert shown.count(r"a/\x1b[2J\x1b]0;title\x07\u202eb") == 4
    assert r"b\nok" in shown
    assert str(GraphError(f"'{name}' is refused.")) == (
        r"'a/\x1b[2J\x1b]0;title\x07\u202eb' is refused."
    )


def test_json_is_strict_json(capsys):
    render.emit(RESULT, as_json=True)
    text = capsys.readouterr().out
    assert json.loads(text) == {"name": "a", "values": [1.5, 2.0], "worst": None}
    assert "NaN" not in text


def test_with_json_people_read_standard_error(capsys):
    table = render.Table("title", ["a", "b"], [["x", "1"]])
    render.emit(RESULT, as_json=True, tables=[table], text="done")
    output = capsys.readouterr()
    json.loads(output.out)
    assert "title" in output.err
    assert "done" in output.err


def test_without_json_tables_are_the_result(capsys):
    render.emit(RESULT, as_json=False, tables=[render.Table("t", ["a"], [["[x]"]])])
    output = capsys.readouterr()
    assert "[x]" in output.out
    assert output.err == ""


def test_progress_is_silent_for_two_seconds_and_then_prints_lines(capsys, monkeypatch):
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with render.ProgressBar() as progress:
        progress("work", 0, 100, unit="steps")
        now = 1.9
        progress("work", 1, 100, unit="steps")
        assert capsys.readouterr().err == ""
        now = 10.0
        progress("work", 50, 100, unit="steps", note="loss 1")
    assert capsys.readouterr().err == "work: 50/100 steps, 5.0 steps/s, 10 s left loss 1\n"
