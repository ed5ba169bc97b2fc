"""Killed, or on a disk that fills up: the output is whole or it is not there."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from yt8m_ensemble.checkpoints import CheckpointWriter, write_checkpoint
from yt8m_ensemble.errors import CheckpointError
from yt8m_ensemble.values import TensorSpec

SERVER = Path(__file__).with_name("crash_server.py")


def kills(*arguments):
    """Run the server; return one record for each kill."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(SERVER), *arguments],
        capture_output=True, text=True, check=False, cwd=root, env={"PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_killed_before_every_change_of_the_file_system(tmp_path):
    found = kills(str(tmp_path / "d"), "steps")
    fresh = [record["found"] for record in found if not record["old"]]
    over = [record["found"] for record in found if record["old"]]
    assert len(fresh) > 8
    # A fresh output is not there until one rename; then it is whole.
    assert fresh == ["none"] * (len(fresh) - fresh.count("new")) + ["new"] * fresh.count("new")
    assert fresh.count("new") >= 1
    # An old one stays until that rename: there is no instant without a checkpoint.
    assert over == ["old"] * over.count("old") + ["new"] * over.count("new")
    assert {"old", "new"} <= set(over)


@pytest.mark.slow
def test_killed_at_50_random_moments(tmp_path):
    found = kills(str(tmp_path / "d"), "random", "50")
    assert len(found) == 50
    assert sum(record["killed"] for record in found) > 10
    assert all(
        record["found"] in ({"new", "old"} if record["old"] else {"none", "new"})
        for record in found
    )


LIMITED = """
import resource, signal, sys
import numpy as np
from yt8m_ensemble.checkpoints import write_checkpoint
from yt8m_ensemble.errors import CheckpointError

if sys.argv[2:]:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    write_checkpoint(sys.argv[1], {"w": np.ones(1_000_000, np.float32)}, force=True)
except CheckpointError as error:
    print(error)
"""


def run_limited(command, prefix, *arguments):
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, sys.executable, "-c", LIMITED, prefix, *arguments],
        capture_output=True, text=True, check=False, env={"PYTHONPATH": str(root)},
    )  # fmt: skip
    assert not done.stderr, done.stderr
    return done.stdout


def test_a_size_limited_file_system_leaves_the_old_output(tmp_path):
    prefix = str(tmp_path / "c")
    write_checkpoint(prefix, {"w": np.zeros(3, np.float32)})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    output = run_limited([], prefix, "100000")
    assert output.startswith(f"Cannot write '{prefix}': File too large. Nothing was left behind")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_full_tmpfs(tmp_path):
    # A mount of its own, seen by nobody else; where the machine does not allow that, skip.
    script = f'mount -t tmpfs -o size=1m tmpfs {tmp_path} && "$@"; ls -A {tmp_path}'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    probe = subprocess.run([*command, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("This machine lets no user mount a tmpfs.")
    prefix = str(tmp_path / "c")
    output = run_limited(command, prefix)
    assert output.splitlines() == [
        f"Cannot write '{prefix}': No space left on device. Nothing was left behind; make room or "
        "choose a place that can be written to."
    ]


def test_a_target_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(CheckpointError, match=r"Cannot write '.*': ") as error:
        write_checkpoint(str(tmp_path / "file" / "c"), {"w": np.ones(1)})
    assert error.value.prefix == str(tmp_path / "file" / "c")
    assert error.value.reason
    with pytest.raises(CheckpointError, match="Cannot write '/proc/"):
        write_checkpoint("/proc/yt8m/c", {"w": np.ones(1)})


def test_a_full_disk_while_syncing(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("yt8m_ensemble.files.fsync", fail)
    with pytest.raises(CheckpointError, match="No space left on device"):
        write_checkpoint(str(tmp_path / "c"), {"w": np.ones(1)})
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_caller_is_not_dressed_up(tmp_path):
    def blocks():
        yield np.ones(1)
        raise OSError(5, "Input/output error")

    def write():
        with CheckpointWriter(str(tmp_path / "c")) as writer:
            writer.add_blocks(TensorSpec("v", (2,), "float64"), blocks())

    with pytest.raises(OSError, match="Input/output"):
        write()
    assert not list(tmp_path.iterdir())
