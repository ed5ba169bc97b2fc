"""The command line in processes of its own, so that they can be stopped, starved and killed."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **more}


def start(*arguments, prefix=(), **more):
    """Start `yt8m-ens`."""
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "yt8m_ensemble", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**more),
    )  # fmt: skip


def run(*arguments, prefix=(), **more):
    """Run `yt8m-ens`; return its exit code, standard output and standard error."""
    process = start(*arguments, prefix=prefix, **more)
    out, err = process.communicate()
    return process.returncode, out, err
