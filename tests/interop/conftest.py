"""Interpreters of the challenges' day: old Pythons with TensorFlow 1.x, made once and kept.

They live in the user's cache folder, outside the repository: one environment a version, built under
a lock and moved into place whole, so that runs side by side share it and an interrupted build
leaves nothing.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Each version's Python, and the last releases that it works with.
_PYTHON37 = ("3.7", ("protobuf<3.21", "numpy<1.19", "h5py<3"))
_PYTHON36 = (
    "3.6",
    (
        *("absl-py<1", "astor<0.9", "gast<0.5", "grpcio<1.48", "markdown<3.4", "numpy<1.17"),
        *("protobuf<3.18", "termcolor<1.2", "werkzeug<2.1", "wheel<0.38"),
    ),
)
VERSIONS = {"1.8.0": _PYTHON36, "1.14.0": _PYTHON37, "1.15.5": _PYTHON37}


@pytest.fixture(scope="session")
def tf1_python() -> Callable[[str], str]:
    """Return a function from a TensorFlow 1.x version to an interpreter that has it.

    It skips the test where there is no such Python or no package registry.
    """

    def find(version: str) -> str:
        python, reason = _tf1_python(version)
        if python is None:
            pytest.skip(reason)
        return python

    return find


@functools.cache
def _tf1_python(version: str) -> tuple[str | None, str]:
    """Return the interpreter, or why there is none; asked once a run, for a try takes a minute."""
    home = _cache_dir() / f"tensorflow-{version}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.is_dir():
            wanted, pins = VERSIONS[version]
            base = _find_python(wanted)
            if base is None:
                return None, f"No Python {wanted} was found through pyenv or on PATH."
            if fault := _build(home, base, [f"tensorflow=={version}", *pins]):
                return None, fault
    return str(home / "bin" / "python"), ""


def _build(home: Path, base: str, packages: list[str]) -> str:
    """Build the environment; return what went wrong."""
    part = home.with_name(f".{home.name}.part-{os.getpid()}")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    try:
        subprocess.run([base, "-m", "venv", str(part)], check=True, env=environment)
        install = [str(part / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        install += ["--disable-pip-version-check", "--retries", "1"]
        # The pip that these Pythons bring picks releases that they cannot run.
        for wanted in (["--upgrade", "pip<22"], packages):
            done = subprocess.run(
                [*install, *wanted], check=False, env=environment, capture_output=True, text=True
            )
            if done.returncode:
                said = (done.stderr.strip() or "nothing was said").splitlines()[-1]
                return f"{packages[0]} could not be installed: {said}"
        part.rename(home)
        return ""
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _find_python(wanted: str) -> str | None:
    for candidate in _candidates(wanted):
        # A pyenv shim exists for every version, also for those that it cannot run.
        asked = subprocess.run(
            [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            check=False,
            capture_output=True,
            text=True,
        )
        if asked.stdout.strip() == wanted:
            return candidate
    return None


def _candidates(wanted: str) -> Iterator[str]:
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(root.glob(f"versions/{wanted}*/bin/python")))
    if found := shutil.which(f"python{wanted}"):
        yield found


def _cache_dir() -> Path:
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "yt8m-ensemble-tests"
