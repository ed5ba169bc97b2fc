"""Mutate small valid files of every input format; opening one succeeds or raises our error.

    python tests/faults/fuzz.py FORMAT [--seconds 60 | --count N] [--seed 0] [--keep DIR]

Opening means reading all that the toolkit would read. A traceback, a hang of over ten seconds and a
crash are faults. Formats that carry checksums are also mutated below them: the content is changed
and signed anew. Prints how many mutants were opened, how many refused, and what failed.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # for `tests`

from tests.faults.formats import FORMATS
from tests.faults.mutation import mutate
from yt8m_ensemble.errors import EnsembleError


class HangError(Exception):
    """Opening took longer than anything of this size may."""


def fuzz(name, *, seed=0, seconds=None, count=None, keep=None):
    """Open mutants of a format; return how many opened and were refused, and the faults."""
    chosen = FORMATS[name]
    rng = random.Random(seed)
    found = {"opened": 0, "refused": 0}
    faults = []

    def hang(*_):
        raise HangError

    before = signal.signal(signal.SIGALRM, hang)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = chosen.make(Path(folder))
            valid = path.read_bytes()
            chosen.read(path)
            number, started = 0, time.monotonic()
            while number < count if count else time.monotonic() - started < seconds:
                change = chosen.below if chosen.below and rng.random() < 0.5 else mutate
                mutant = change(valid, rng)
                path.write_bytes(mutant)
                if keep:  # also of a crash
                    Path(keep, f"{name}{path.suffix}").write_bytes(mutant)
                signal.alarm(10)
                try:
                    chosen.read(path)
                    found["opened"] += 1
                except EnsembleError:
                    found["refused"] += 1
                except Exception as error:
                    last = traceback.extract_tb(error.__traceback__)[-1]
                    faults.append(
                        f"mutant {number}: {type(error).__name__} {str(error)[:200]!r} at "
                        f"{Path(last.filename).name}:{last.lineno}"
                    )
                    if keep:
                        Path(keep, f"{name}-{number}{path.suffix}").write_bytes(mutant)
                finally:
                    signal.alarm(0)
                number += 1
    finally:
        signal.signal(signal.SIGALRM, before)
    return {**found, "faults": faults}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("format", choices=[*FORMATS, "all"])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--count", type=int, help="number of mutants, instead of --seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", help="directory for mutants that failed")
    options = parser.parse_args()
    if options.keep:
        Path(options.keep).mkdir(parents=True, exist_ok=True)
    if options.format in {"tfrecord", "all"}:
        import tensorflow as tf

        # Making a pipeline faster takes longer than reading files this small.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    names = FORMATS if options.format == "all" else [options.format]
    for name in names:
        found = fuzz(
            name,
            seed=options.seed,
            seconds=options.seconds,
            count=options.count,
            keep=options.keep,
        )
        sys.stdout.write(f"{json.dumps({'format': name, **found}, indent=1)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
