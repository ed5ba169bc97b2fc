"""Environments to work beside: TensorFlow 1.x and newer Pythons; made once, kept.

They live in the user's cache folder, outside the repository: one folder a version, built under a
lock and moved into place whole, so that runs side by side share it and an interrupted build leaves
nothing.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]

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


@pytest.fixture(scope="session")
def product_python() -> Callable[[str], str]:
    """Return a function from a Python version to an interpreter that has what we depend on.

    It skips the test where there is no such Python or no package registry.
    """

    def find(version: str) -> str:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        wanted = project["dependencies"]
        digest = hashlib.sha256("\n".join(wanted).encode()).hexdigest()[:12]
        home = cache_dir() / f"python-{version}-{digest}"

        def build(part: Path) -> str:
            base = _find_python(version)
            if base is None:
                return f"No Python {version} was found through pyenv or on PATH."
            subprocess.run([base, "-m", "venv", str(part)], check=True, env=_environment())
            return _install(str(part / "bin" / "python"), *wanted)

        if fault := _keep(home, build):
            pytest.skip(fault)
        return str(home / "bin" / "python")

    return find


@functools.cache
def _tf1_python(version: str) -> tuple[str | None, str]:
    """Return the interpreter, or why there is none; asked once a run, for a try takes a minute."""
    home = cache_dir() / f"tensorflow-{version}"
    if fault := _keep(home, functools.partial(_build_tensorflow, version)):
        return None, fault
    return str(home / "bin" / "python"), ""


def _build_tensorflow(version: str, part: Path) -> str:
    wanted, pins = VERSIONS[version]
    base = _find_python(wanted)
    if base is None:
        return f"No Python {wanted} was found through pyenv or on PATH."
    subprocess.run([base, "-m", "venv", str(part)], check=True, env=_environment())
    python = str(part / "bin" / "python")
    # The pip that these Pythons bring picks releases that they cannot run.
    fault = _install(python, "--upgrade", "pip<22")
    return fault or _install(python, f"tensorflow=={version}", *pins)


def _keep(home: Path, build: Callable[[Path], str]) -> str:
    """Build a folder unless it is there; return what went wrong."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if home.is_dir():
            return ""
        part = home.with_name(f".{home.name}.part-{os.getpid()}")
        try:
            fault = build(part)
            if not fault:
                part.rename(home)
            return fault
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _install(python: str, *arguments: str) -> str:
    """Install packages; return what went wrong."""
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install += ["--retries", "1", *arguments]
    done = subprocess.run(install, check=False, env=_environment(), capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or "nothing was said").splitlines()[-1]
        return f"`pip install {' '.join(arguments)}` failed: {said}"
    return ""


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


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


def cache_dir() -> Path:
    """Return the folder that outlives runs and clones."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "yt8m-ensemble-tests"
