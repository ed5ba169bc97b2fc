import json

import pytest

from yt8m_ensemble.cli.root import cli, main
from yt8m_ensemble.errors import EnsembleError


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    output = capsys.readouterr()
    return caught.value.code, output.out, output.err


@pytest.fixture
def failing(monkeypatch):
    def use(error):
        import click

        @click.command("fail")
        @click.option("--json", "as_json", is_flag=True)
        def fail(*, as_json):
            del as_json
            raise error

        monkeypatch.setitem(cli.commands, "fail", fail)

    return use


def test_help_exits_with_0(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert "merge" in out


def test_wrong_usage_exits_with_2(capsys):
    code, _, err = run(capsys, "merge", "--nonsense")
    assert code == 2
    assert "--nonsense" in err


def test_our_errors_are_one_message_and_exit_with_1(capsys, failing):
    failing(EnsembleError("It is broken. Mend it.", tensor="w"))
    code, out, err = run(capsys, "fail")
    assert (code, out, err) == (1, "", "Error: It is broken. Mend it.\n")


def test_json_carries_the_facts_of_an_error(capsys, failing):
    failing(EnsembleError("It is broken.", tensor="w"))
    code, out, _ = run(capsys, "fail", "--json")
    assert code == 1
    assert json.loads(out) == {
        "error": "EnsembleError",
        "message": "It is broken.",
        "details": {"tensor": "w"},
    }


def test_an_interruption_exits_with_130(capsys, failing):
    failing(KeyboardInterrupt())
    assert run(capsys, "fail")[0] == 130


def test_debug_shows_the_traceback(failing):
    failing(EnsembleError("It is broken."))
    with pytest.raises(EnsembleError):
        main(["--debug", "fail"])


def test_a_bug_is_not_dressed_up(failing):
    failing(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["fail"])
