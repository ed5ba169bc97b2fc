"""Kill writers of checkpoints at chosen and at random moments; a process without TensorFlow.

    python crash_server.py DIRECTORY steps      every system call of a write in turn
    python crash_server.py DIRECTORY random N   SIGKILL after N random delays

Prints one JSON line for each kill: what a reader then finds at the prefix.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.averaging import mean_blocks
from yt8m_ensemble.checkpoints import CheckpointWriter, open_checkpoint, write_checkpoint
from yt8m_ensemble.errors import CheckpointNotFoundError
from yt8m_ensemble.values import DictSource

SIZE = 700_000


def write(prefix):
    """Write an average over whatever is there."""
    sources = {str(i): DictSource({"w": np.full(SIZE, 2.0 * i, np.float32)}) for i in range(3)}
    with CheckpointWriter(prefix, force=True) as writer:
        writer.add("a", np.array(2))
        specs = list(sources["0"].specs().values())
        for spec, blocks in mean_blocks(sources, specs, [1 / 3] * 3, threads=2):
            writer.add_blocks(spec, blocks)


def find(prefix):
    """Return what a reader finds: `none`, `old`, `new`; anything else raises."""
    try:
        with open_checkpoint(prefix) as source:
            value = int(source.read("a"))
            assert (source.read("w") == value).all()
            return {1: "old", 2: "new"}[value]
    except CheckpointNotFoundError:
        assert not Path(f"{prefix}.index").exists()
        return "none"


def run_child(action):
    child = os.fork()
    if not child:
        try:
            action()
        finally:
            os._exit(0)
    return child


def exit_at(count):
    """Let the process vanish before its `count`-th change of the file system."""
    done = 0

    def wrap(owner, name):
        real = getattr(owner, name)

        def counted(*arguments, **options):
            nonlocal done
            if done == count:
                os.kill(os.getpid(), signal.SIGKILL)
            done += 1
            return real(*arguments, **options)

        setattr(owner, name, counted)

    wrap(CheckpointWriter, "_write")
    wrap(files, "fsync")
    for name in ("unlink", "rename", "replace", "rmdir", "write_bytes", "write_text", "mkdir"):
        wrap(Path, name)


def trial(directory, *, old, kill):
    """Kill one write; return what is found."""
    shutil.rmtree(directory, ignore_errors=True)
    prefix = f"{directory}/c"
    if old:
        write_checkpoint(prefix, {"a": np.array(1), "w": np.ones(9, np.float32)})
    killed = kill(prefix)
    record = {"old": old, "found": find(prefix), "killed": killed}
    sys.stdout.write(f"{json.dumps(record)}\n")
    sys.stdout.flush()
    return killed


def main():
    directory, mode = sys.argv[1:3]
    if mode == "steps":
        for old in (False, True):
            count = 0

            def kill(prefix):
                child = run_child(lambda: (exit_at(count), write(prefix)))  # noqa: B023 - run at once
                return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) < 0

            while trial(directory, old=old, kill=kill):
                count += 1
        return
    started = time.perf_counter()
    write(f"{directory}/c")
    whole_s = time.perf_counter() - started
    generator = random.Random(0)
    for number in range(int(sys.argv[3])):

        def kill(prefix):
            child = run_child(lambda: write(prefix))
            time.sleep(generator.uniform(0, 1.2 * whole_s))
            os.kill(child, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) < 0

        trial(directory, old=number % 2 == 1, kill=kill)


if __name__ == "__main__":
    main()
