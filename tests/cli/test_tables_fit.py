"""Every table of every command fits a terminal of 80 columns, however long the names are."""

import numpy as np
import pytest

import yt8m_ensemble as yt
from tests.builders.predictions import make_predictions
from tests.builders.terminals import make_terminal
from yt8m_ensemble.cli import render
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.cli.run import _table
from yt8m_ensemble.recipe.report import EnsembleReport, ReportRow

LONG = "a-member-with-a-name-as-long-as-people-make-them-2018-11-24"
NAMES = [f"{LONG}-{n}" for n in range(5)]
COMMANDS = {
    "tune": "tune-weights --predictions a.h5 --folds 2 --bootstrap 9 --per-class",
    "compare": "compare --predictions a.h5",
    "pairs": "compare a.h5 b.h5",
    "select": "select --predictions a.h5 --max-size 99 "
    + " ".join(f"--size {name}=40" for name in NAMES),
    "eval": "eval --predictions a.h5 --weights 0.2,0.2,0.2,0.2,0.2",
    "average": f"avg-ckpt --prefix {LONG}/model.ckpt --last 2 --out averaged",
    "inspect": f"inspect {LONG}/model.ckpt-1",
    "diff": f"inspect {LONG}/model.ckpt-1 --diff {LONG}/model.ckpt-2",
    "edit": f"edit {LONG}/model.ckpt-1 --rename tower/(.*)=>other/\\1 --out edited --dry-run",
    "synth": "synth --videos 20 --classes 5 --feature-sizes 3,3,3,3,3,3 --feature-names "
    f"{','.join(f'a-feature-with-a-long-name-{n}' for n in range(6))} --level frame --out {LONG}-r",
}  # fmt: skip
RECORDS = "--feature-sizes 8,4 --num-classes 25"
WITH_MODELS = [
    "synth --videos 200 --classes 25 --feature-sizes 8,4 --out records",
    f"train --model LogisticModel --train-data records/* --train-dir {LONG} {RECORDS} "
    "--batch-size 50 --save-steps 2",
    f"train --model MoeModel --train-data records/* --train-dir {LONG}-2 {RECORDS} "
    "--batch-size 50 --save-steps 2",
    f"eval --model {LONG} --model {LONG}-2 --data records/*",
    f"avg-ckpt --prefix {LONG} --last auto --eval-data records/* --out averaged",
    f"merge --member {NAMES[0]}={LONG} --member {NAMES[1]}={LONG}-2 --fp16 --out merged",
    "inspect merged --graph",
    f"inspect merged --graph --diff {LONG}",
    "extract merged --out members",
    "package --model merged --out merged.tgz",
    "verify merged.tgz --data records/*",
]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in a directory of its own; return the lines of its tables."""
    monkeypatch.chdir(tmp_path)
    print_tables = render.print_tables

    def run_on_terminal(command):
        # The sentences below a table are folded by the terminal.
        with monkeypatch.context() as patch:
            screen = make_terminal(patch, 80)
            patch.setattr(
                render,
                "print_tables",
                lambda tables, _, *, to_stderr: print_tables(tables, "", to_stderr=to_stderr),
            )
            cli.main(command.split(), standalone_mode=False)
        return screen.getvalue().splitlines()

    return run_on_terminal


@pytest.fixture
def files(tmp_path):
    scores, labels = make_predictions(60, 30, len(NAMES))
    ids = [f"video{n}" for n in range(60)]
    for name in "ab":
        path = str(tmp_path / f"{name}.h5")
        yt.write_predictions(path, ids, dict(zip(NAMES, scores, strict=True)), labels)
    rng = np.random.default_rng(0)
    (tmp_path / LONG).mkdir()
    for step in (1, 2):
        tensors = {f"tower/{name}/weights": rng.random((30, 20), np.float32) for name in NAMES}
        path = str(tmp_path / LONG / f"model.ckpt-{step}")
        yt.write_checkpoint(path, {**tensors, "global_step": np.array(step)})


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_tables_fit(run, command):
    lines = run(command)
    assert lines or "a.h5 b.h5" in command
    assert max(map(len, lines), default=0) <= 80


@pytest.mark.tf
@pytest.mark.slow
def test_tables_of_models_fit(run):
    for command in WITH_MODELS:
        lines = run(command)
        assert lines, command
        assert max(map(len, lines)) <= 80, command


def test_the_table_of_a_run_fits(monkeypatch):
    gaps = (0.123456, 0.234567, 0.345678)
    rows = [ReportRow(name, gaps) for name in (*NAMES, "tuned, logit, by class, as packaged")]
    columns = ("last checkpoint", "averaged, float32", "in the bundle")
    sizes = {"members": 10**9}
    report = EnsembleReport(LONG, columns, tuple(rows), 10**6, 0.1, {}, sizes, "a.tgz")
    screen = make_terminal(monkeypatch, 80)
    render.print_tables([_table(report)], "", to_stderr=False)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("0.12346   " in line for line in lines) == len(rows)


def test_every_command_with_a_table_is_run():
    tried = {command.split()[0] for command in (*COMMANDS.values(), *WITH_MODELS)} | {"run"}
    without = {"blend", "convert", "merge-predictions", "predict", "report"}
    assert tried | without == set(cli.commands)
