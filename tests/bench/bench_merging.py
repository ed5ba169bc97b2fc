"""Merge four gated NetVLADs of the published sizes: time and peak memory beside their floors.

    python tests/bench/bench_merging.py [--dir DIR] [--rounds 3]

The members hold 334 M parameters, 1.34 GB of float32, and become about 0.7 GB of float16. Floors of
the same round: reading and writing these bytes, and importing TensorFlow. Every row is a process of
its own; this one imports nothing heavy, because a child's peak memory is never below its parent's.
A ratio is (merge - import) / (read and write), of the best times, and of the median round.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = {"a": (24, 1440), "b": (32, 1024), "c": (16, 800), "d": (32, 512)}

MAKE = """
import sys
from pathlib import Path
import numpy as np
from yt8m_ensemble.checkpoints import CheckpointWriter
from yt8m_ensemble.models import build_graph, make_model, model_options
from yt8m_ensemble.values import FeatureSpec, ModelFlags

directory, clusters, hidden = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
options = {"netvlad_cluster_size": clusters, "netvlad_hidden_size": hidden,
           "gating": True, "moe_prob_gating": True}
made = make_model("NetVLADModelLF", options)
features = FeatureSpec(("rgb", "audio"), (1024, 128), True)
flags = ModelFlags("NetVLADModelLF", features, 3862, options=model_options(made))
directory.mkdir(parents=True)
(directory / "model_flags.json").write_text(flags.to_json())
noise = np.random.default_rng(0).standard_normal(1 << 20, np.float32) * np.float32(0.02)
specs = {spec.name: spec for spec in build_graph(flags).variables.values()}
with CheckpointWriter(str(directory / "model.ckpt-1000")) as writer:
    for position, name in enumerate(sorted(specs)):
        spec = specs[name]
        writer.add_blocks(spec, (
            np.abs(np.roll(noise, 7 * (start >> 20) + position))[: spec.size - start]
            for start in range(0, spec.size, noise.size)))
"""


def run(command):
    """Return wall seconds, seconds of CPU and peak resident MB of a command."""
    started = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = child.stderr.read() if child.stderr else b""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(error.decode()[-2000:])
    elapsed = time.perf_counter() - started
    return elapsed, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    directory = options.dir or Path(tempfile.mkdtemp(prefix="bench-merging-"))
    for name, (clusters, hidden) in SIZES.items():
        if not (directory / name).exists():
            run([sys.executable, "-c", MAKE, str(directory / name), str(clusters), str(hidden)])
    inputs = [directory / name / "model.ckpt-1000.data-00000-of-00001" for name in SIZES]
    members = [f"--member={name}={directory / name}" for name in SIZES]
    out = directory / "merged"
    merge = [sys.executable, "-m", "yt8m_ensemble", "merge", *members, "--fp16", "--force"]

    def floor(nbytes):
        """Read the inputs and write a new file, which replaces the old one when it is whole.

        Pages of a file that is truncated and written again would come back warm, which no safe
        writer can have.
        """
        new = directory / "floor.new"
        steps = [
            f"cat {' '.join(map(str, inputs))} >/dev/null",
            f"head -c {nbytes} /dev/zero >{new}",
            f"sync {new}",
            f"mv {new} {directory / 'floor'}",
        ]
        return ["sh", "-c", " && ".join(steps)]

    rows = {
        "import TensorFlow": [sys.executable, "-c", "import tensorflow"],
        "floor of --fp16": floor(670_000_000),
        "merge --fp16": [*merge, "--out", str(out)],
        "floor of --quantize uint8": floor(335_000_000),
        "merge --quantize uint8": [*merge, "--quantize", "uint8", "--out", str(out)],
    }
    results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in rows}
    for _ in range(options.rounds):
        for name, command in rows.items():
            results[name].append(run(command))
    size = sum(path.stat().st_size for path in inputs)
    print(f"{len(SIZES)} members, {size / 1e9:.2f} GB in, best of {options.rounds}")
    for name, found in results.items():
        seconds, cpu, memory = (min(values) for values in zip(*found, strict=True))
        print(f"{name:26} {seconds:6.2f} s {cpu:6.2f} cpu s {memory:7.0f} MB", end="")
        if name.startswith("merge"):
            others = results["import TensorFlow"], results[name.replace("merge", "floor of")]
            rounds = zip(found, *others, strict=True)
            ratios = [(ours[0] - start[0]) / least[0] for ours, start, least in rounds]
            start, least = (min(seconds for seconds, *_ in other) for other in others)
            best = (seconds - start) / least
            print(f"  beyond the import {best:.2f} x", end="")
            print(f", median of rounds {statistics.median(ratios):.2f} x", end="")
        print()
    if options.dir is None:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
