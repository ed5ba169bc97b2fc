"""Interpreters of the challenges' day: Python 3.7 with TensorFlow 1.x, made once and kept.

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

# The last releases that TensorFlow 1.14 and 1.15 work with.
PINS = ("protobuf<3.21", "numpy<1.19", "h5py<3")


@pytest.fixture(scope="session")
def tf1_python() -> Callable[[str], str]:
    """Return a function from a TensorFlow 1.x version to an interpreter that has it.

    It skips the test where there is no Python 3.7 or no package registry.
    """
    return functools.cache(_tf1_python)


def _tf1_python(version: str) -> str:
    home = _cache_dir() / f"tensorflow-{version}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.is_dir():
            base = _python37()
            if base is None:
                pytest.skip("No Python 3.7 was found through pyenv or on PATH.")
            _build(home, base, version)
    return str(home / "bin" / "python")


def _build(home: Path, base: str, version: str) -> None:
    part = home.with_name(f".{home.name}.part-{os.getpid()}")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    try:
        subprocess.run([base, "-m", "venv", str(part)], check=True, env=environment)
        install = [str(part / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        install += ["--disable-pip-version-check", "--retries", "1", f"tensorflow=={version}"]
        done = subprocess.run(
            [*install, *PINS], check=False, env=environment, capture_output=True, text=True
        )
        if done.returncode:
            said = (done.stderr.strip() or "nothing was said").splitlines()[-1]
            pytest.skip(f"TensorFlow {version} could not be installed for Python 3.7: {said}")
        part.rename(home)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _python37() -> str | None:
    for candidate in _candidates():
        # A pyenv shim exists for every version, also for those that it cannot run.
        asked = subprocess.run(
            [candidate, "-c", "import sys; print(sys.version_info[:2])"],
            check=False,
            capture_output=True,
            text=True,
        )
        if asked.stdout.strip() == "(3, 7)":
            return candidate
    return None


def _candidates() -> Iterator[str]:
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(root.glob("versions/3.7*/bin/python")))
    if found := shutil.which("python3.7"):
        yield found


def _cache_dir() -> Path:
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "yt8m-ensemble-tests"
