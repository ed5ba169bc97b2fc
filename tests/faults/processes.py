"""The command line in processes of its own, so that they can be stopped, starved and killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **more}


def _default_signals():
    # Tests that were started with `nohup` or in the background would pass on what they ignore.
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def start(*arguments, prefix=(), **more):
    """Start `yt8m-ens`."""
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "yt8m_ensemble", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**more),
        preexec_fn=_default_signals,  # noqa: PLW1509 - it takes no lock
    )  # fmt: skip


def dead_mark():
    """Return how the temporary names of a process that has ended end."""
    code = "from yt8m_ensemble.parts import new_mark; print(new_mark())"
    return subprocess.check_output([sys.executable, "-c", code], text=True, env=environment())[:-1]


def run(*arguments, prefix=(), **more):
    """Run `yt8m-ens`; return its exit code, standard output and standard error."""
    process = start(*arguments, prefix=prefix, **more)
    out, err = process.communicate()
    return process.returncode, out, err
