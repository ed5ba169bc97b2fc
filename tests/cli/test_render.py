import json
from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders.terminals import make_terminal
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


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    num_columns=st.integers(1, 12),
    names=st.lists(st.text("ab/_", min_size=1, max_size=120), max_size=3),
)
def test_a_table_of_any_size_fits_80_columns(monkeypatch, data, num_columns, names):
    cells = st.lists(
        st.text("0123456789.+", min_size=1, max_size=22),
        min_size=num_columns - 1,
        max_size=num_columns - 1,
    )
    rows = [[name, *data.draw(cells)] for name in names]
    table = render.Table("t", ["member", *data.draw(cells)], rows)
    with monkeypatch.context() as patch:
        screen = make_terminal(patch, 80)
        render.print_tables([table], "", to_stderr=False)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    shown = {word for line in lines for word in line.split()}
    for row in (table.columns, *rows):
        assert shown.issuperset(row[1:])  # numbers are never folded
        assert "".join(row[0][:1]) in screen.getvalue()


def test_a_table_that_is_too_wide_repeats_its_first_column(monkeypatch):
    screen = make_terminal(monkeypatch, 80)
    columns = ["file", *(f"a column {n}" for n in range(9))]
    rows = [["runs/one", *"123456789"], ["runs/two", *"abcdefghi"]]
    render.print_tables([render.Table("t", columns, rows)], "", to_stderr=False)
    text = screen.getvalue()
    assert text.count("runs/one") == text.count("runs/two") == 2
    assert text.count("a column 8") == 1
