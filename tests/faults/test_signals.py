"""Signals: training saves, commands clean up, and nothing shows a traceback."""

import json
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from tests.builders.models import NUM_CLASSES
from tests.builders.records import write_learnable_records
from tests.faults.hostile_models import write_model
from tests.faults.processes import environment, run, start
from yt8m_ensemble.checkpoints import find_steps
from yt8m_ensemble.cli.root import cli, main
from yt8m_ensemble.data import encode_means, write_records
from yt8m_ensemble.locks import lock

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_learnable_records(tmp_path_factory.mktemp("records"))


def training(records, train_dir, *more):
    return (
        "train", "--model", "LogisticModel", "--train-data", records, "--train-dir", train_dir,
        "--num-classes", NUM_CLASSES, "--feature-names", "mean_rgb,mean_audio",
        "--feature-sizes", "6,2", "--batch-size", 16, "--num-epochs", 0, "--max-steps", 10**7,
        "--save-steps", 10**6, *more,
    )  # fmt: skip


def wait_for_training(process):
    """Return once steps are being done: a progress line names an example rate."""
    for line in process.stderr:
        if "train LogisticModel" in line:
            return
    raise AssertionError(process.returncode)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_stopped_run_has_saved_its_last_step(tmp_path, records, number, code):
    process = start(*training(records, tmp_path))
    wait_for_training(process)
    process.send_signal(number)
    err = process.communicate()[1]
    (step,) = find_steps(str(tmp_path))
    assert process.returncode == code
    assert step > 0
    assert f"Saved '{tmp_path}/model.ckpt-{step}'" in err
    assert "Traceback" not in err
    code, out, err = run(*training(records, tmp_path), "--max-steps", step + 1, "--json")
    assert (code, find_steps(str(tmp_path))) == (0, [step, step + 1]), err
    assert json.loads(out)["global_step"] == step + 1
    assert not [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")]


@pytest.mark.slow
def test_checkpoints_are_saved_by_the_clock(tmp_path, records):
    process = start(*training(records, tmp_path, "--save-minutes", 1e-3))
    while not find_steps(str(tmp_path)):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.kill()
    process.communicate()


def test_a_second_run_into_one_directory_is_refused(tmp_path, records):
    with lock(str(tmp_path / "train"), wait=False):
        code, _, err = run(*training(records, tmp_path))
    assert (code, "Traceback" in err) == (1, False)
    assert f"Error: Another process is training into '{tmp_path}'." in err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def command(monkeypatch):
    """Return a way to run a function as a command."""

    def use(function):
        import click

        monkeypatch.setitem(cli.commands, "act", click.command("act")(function))
        with pytest.raises(SystemExit) as caught:
            main(["act"])
        return caught.value.code

    return use


@pytest.fixture
def heard(number):
    """See that a signal is not ignored, as `nohup` has SIGHUP be."""
    before = signal.getsignal(number)
    if before is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
    yield
    signal.signal(number, before)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.usefixtures("heard")
def test_a_signal_cleans_up(tmp_path, command, number, code):
    from yt8m_ensemble import files

    before = signal.getsignal(number)

    def act():
        with (
            files.atomic_file(str(tmp_path / "f")) as part,
            files.atomic_directory(str(tmp_path / "d")),
            lock(str(tmp_path / "l"), wait=False),
        ):
            open(part, "w").close()  # noqa: PTH123
            signal.raise_signal(number)

    assert command(act) == code
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(number) == before


def test_a_signal_that_an_import_turned_into_another_error_is_one(command):
    def act():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            msg = "numpy.core failed"
            raise ImportError(msg) from error

    assert command(act) == 130


def test_signals_in_other_threads_need_no_handler(command):
    codes = []

    def act():
        pass

    thread = threading.Thread(target=lambda: codes.append(command(act)))
    thread.start()
    thread.join()
    assert codes == [0]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_importing_shows_no_traceback(number, code):
    script = (
        "import sys, signal\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'yt8m_ensemble.cli.options':\n"
        f"            signal.raise_signal({int(number)})\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from yt8m_ensemble.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (code, "")


def test_a_signal_ignored_by_the_parent_stays_ignored(command):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert command(lambda: signal.raise_signal(signal.SIGHUP)) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("place", ["predictions", "function"])
@pytest.mark.parametrize("command", ["predict --csv {out}", "eval"])
def test_a_graph_that_never_ends_can_be_stopped(tmp_path, number, code, place, command):
    """TensorFlow runs it where Python sees no signal; closing the session ends it."""
    model = write_model(tmp_path / "m", harm=never_end, place=place)
    means = {"mean_rgb": np.ones(8)}
    records = tmp_path / "r.tfrecord"
    write_records(str(records), [encode_means(b"v%d" % n, [1], means) for n in range(9)])
    before = set(tmp_path.iterdir())
    script = (
        "import os, sys, threading\n"
        "from yt8m_ensemble.inference.runner import GraphRunner\n"
        "run = GraphRunner._run\n"
        "def run_and_signal(*arguments):\n"
        f"    threading.Timer(0.5, os.kill, (os.getpid(), {int(number)})).start()\n"
        "    return run(*arguments)\n"
        "GraphRunner._run = run_and_signal\n"
        "from yt8m_ensemble.cli.root import main\n"
        "main(sys.argv[1:])\n"
    )
    arguments = command.format(out=tmp_path / "out.csv").split()
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments, "--model", model, "--data", records,
         "--batch-size", "4"],
        capture_output=True, text=True, check=False, env=environment(), timeout=300,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert set(tmp_path.iterdir()) == before


def never_end():
    return tf.while_loop(lambda n: n < 2.0, lambda n: (n * 1.0,), [tf.constant(1.0)])[0]
