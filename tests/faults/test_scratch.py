"""Temporary directories: gone after their block, and after a killed process when the next comes."""

import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from yt8m_ensemble.scratch import scratch_directory

HOLDER = """
import sys, time
from yt8m_ensemble.scratch import scratch_directory
with scratch_directory() as path:
    open(f"{path}/unpacked", "w").close()
    print(path, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def start_holder():
    process = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_killed_process_leaves_its_directory_to_the_next(temporary):
    process, held = start_holder()
    with process:
        with scratch_directory() as own:
            assert (held / "unpacked").exists()  # its holder lives
        process.send_signal(signal.SIGKILL)
    assert held.exists()
    with scratch_directory() as own:
        assert [*temporary.iterdir()] == [Path(own).parent]
    assert not [*temporary.iterdir()]


def test_foreign_directories_stay(temporary):
    for name in ("yt8m-ens-older", "yt8m-ens-scratch.txt"):
        (temporary / name).mkdir()
    with scratch_directory():
        pass
    assert len([*temporary.iterdir()]) == 2


def test_many_at_once_never_lose_theirs():
    faults = []

    def use():
        for _ in range(60):
            with scratch_directory() as path:
                Path(path, "x").touch()
                if not Path(path, "x").exists():
                    faults.append(path)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


def test_one_whose_content_is_replaced_is_still_held():
    with scratch_directory() as first:
        Path(first).rename(f"{first}.old")
        Path(first).mkdir()
        Path(first, "x").touch()
        with scratch_directory():
            assert Path(first, "x").exists()
