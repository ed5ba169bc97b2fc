"""What the file system refuses is one message with path, reason and advice, never a traceback."""

import errno
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.builders.predictions import make_predictions
from tests.faults.processes import environment
from tests.faults.processes import run as run_process
from yt8m_ensemble.checkpoints import write_checkpoint
from yt8m_ensemble.cli.root import cli, main
from yt8m_ensemble.errors import FileError
from yt8m_ensemble.files import file_error
from yt8m_ensemble.storage import PredictionsWriter


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main(list(map(str, arguments)))
    output = capsys.readouterr()
    return caught.value.code, output.out, output.err


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOENT, "Check the path."),
        (errno.ENOSPC, "Make room, or write to another disk."),
        (errno.EROFS, "choose a place that can be written to."),
        (errno.ENOTDIR, "A directory of the path is a file"),
        (errno.EISDIR, "Name a file"),
        (errno.ENAMETOOLONG, "Choose a shorter name."),
        (errno.EMFILE, "`ulimit -n`"),
        (errno.EIO, "Check the path, and try again."),
    ],
)
def test_every_refusal_has_path_reason_and_advice(number, advice):
    error = file_error(OSError(number, os.strerror(number), "a/b"))
    assert isinstance(error, FileError)
    assert isinstance(error, OSError)
    assert str(error).startswith(f"'a/b': {os.strerror(number)}. ")
    assert advice in str(error)
    assert error.details == {"path": "a/b", "reason": os.strerror(number), "errno": number}


def test_a_refusal_without_a_path():
    assert str(file_error(OSError("it broke."))) == "it broke. Check the path, and try again."


@pytest.fixture
def failing(monkeypatch):
    def use(error):
        import click

        def fail(**_):
            raise error

        options: list[click.Parameter] = [
            click.Option(["--weights"]),
            click.Option(["--json"], is_flag=True),
        ]
        made = click.Command("fail", callback=fail, params=options)
        monkeypatch.setitem(cli.commands, "fail", made)

    return use


def test_the_option_that_named_the_path_is_named(capsys, failing):
    failing(FileNotFoundError(2, "No such file or directory", "none.json"))
    code, out, err = run(capsys, "fail", "--weights", "none.json", "--json")
    assert (code, err) == (
        1,
        "Error: 'none.json' given by `--weights`: No such file or directory. Check the path.\n",
    )
    assert json.loads(out)["details"]["path"] == "none.json"


def test_what_tensorflows_file_layer_refuses(capsys, failing):
    import tensorflow as tf

    failing(tf.errors.FailedPreconditionError(None, None, "Could not resolve hostname."))
    code, _, err = run(capsys, "fail")
    assert (code, "Could not resolve hostname. Check the path" in err) == (1, True)
    failing(tf.errors.InvalidArgumentError(None, None, "a bug"))
    with pytest.raises(tf.errors.InvalidArgumentError):
        main(["fail"])


@pytest.mark.parametrize("path", ["gs://no-bucket-of-ours/x", "nope://a/b"])
def test_a_remote_place_that_cannot_be_reached(capsys, path):
    code, _, err = run(capsys, "inspect", path)
    assert (code, err.startswith("Error: ")) == (1, True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda d: d / "file" / "out.json",
            "A file is in the way|A directory of the path is a file",
        ),
        (lambda d: d / "folder", "exists already|is a directory"),
        (lambda d: d / ("n" * 300), "Choose a shorter name"),
        (lambda _: "/dev/full", "is a device"),
        (lambda _: "/proc/none/out.json", "No such file or directory"),
    ],
    ids=["below a file", "a directory", "a long name", "a device", "no such place"],
)
@pytest.mark.parametrize("force", [[], ["--force"]], ids=["", "force"])
def test_outputs_that_cannot_be(capsys, tmp_path, make, message, force):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    scores, labels = make_predictions(num_videos=20, num_classes=5, num_members=2)
    with PredictionsWriter(
        str(tmp_path / "p.h5"), members="ab", digests="ab", num_classes=5
    ) as writer:
        writer.append(np.array([b"v%d" % n for n in range(20)]), scores, labels)
    out = make(tmp_path)
    code, _, err = run(
        capsys, "tune-weights", "--predictions", tmp_path / "p.h5", "--method", "grid",
        "--out", out, *force,
    )  # fmt: skip
    assert code == 1, err
    assert re.search(message, err) or (not force and "exists already" in err)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder", "p.h5"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_an_output_stream_on_a_full_disk():
    code, _, err = run_process("--help", prefix=["sh", "-c", 'exec "$@" >/dev/full', "sh"])
    assert code == 1
    assert err == "Error: No space left on device. Make room, or write to another disk.\n"


def test_paths_that_the_terminal_cannot_show(tmp_path):
    prefix = tmp_path / "größe" / "c"
    write_checkpoint(str(prefix), {"wörter": np.ones(3, np.float32)})
    for more in ([], ["--json"]):
        code, out, err = run_process("inspect", prefix, *more, PYTHONIOENCODING="ascii")
        assert (code, "Traceback" in err) == (0, False)
        assert "rter" in out + err


def test_too_many_open_files(tmp_path):
    prefixes = [str(tmp_path / f"c-{number}") for number in range(40)]
    for prefix in prefixes:
        write_checkpoint(prefix, {"w": np.ones(3, np.float32)})
    code, _, err = run_process(
        "avg-ckpt", "--checkpoints", ",".join(prefixes), "--out", tmp_path / "out",
        "--allow-different-runs", prefix=["sh", "-c", 'ulimit -n 32; exec "$@"', "sh"],
    )  # fmt: skip
    assert code == 1
    assert err.endswith("(`ulimit -n`), or give fewer files at a time.\n")
    assert not [entry for entry in tmp_path.iterdir() if "out" in entry.name]


def test_nowhere_to_keep_machine_code():
    """Neither the package's folder nor the user's can be written to: compiled anew each time."""
    script = (
        "import numba.core.caching as c\n"
        "c.CacheImpl._locator_classes = []\n"
        "from yt8m_ensemble.metrics import kernels\n"
        "import numpy as np\n"
        "kept = np.zeros((1, 2), np.int32)\n"
        "kernels.select_classes(np.array([[3., 1., 2.]], np.float32), 2, kept)\n"
        "print(kept)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, check=False, env=environment(NUMBA_CACHE_DIR=""),
    )  # fmt: skip
    assert done.stdout == "[[0 2]]\n", done.stderr
