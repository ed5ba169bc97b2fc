"""Averaging and inspecting large checkpoints: time and peak memory beside a floor of the same run.

    python tests/bench/bench_checkpoints.py [--dir DIR] [--count 10] [--rounds 3]

Every row is a process of its own, so that start-up counts and memory is its own. This process
imports nothing heavy, because a child's peak memory is never below its parent's.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MAKE = """
import sys
import numpy as np
from yt8m_ensemble.checkpoints import CheckpointWriter
from yt8m_ensemble.values import TensorSpec

directory, count = sys.argv[1], int(sys.argv[2])
shapes = {f"tower/layer{i:02}/weights": (1024, 2900) for i in range(24)}
shapes |= {f"tower/layer{i:02}/biases": (2900,) for i in range(12)}
shapes |= {"tower/gates/weights": (2816, 11586), "tower/experts/weights": (2048, 7724)}
generator = np.random.default_rng(0)
noise = generator.standard_normal(1 << 20, np.float32)
for number in range(count):
    with CheckpointWriter(f"{directory}/model.ckpt-{1000 + number * 100}") as writer:
        writer.add("global_step", np.array(1000 + number * 100))
        for position, (name, shape) in enumerate(sorted(shapes.items())):
            spec = TensorSpec(name, shape, "float32")
            def blocks():
                for start in range(0, spec.size, noise.size):
                    shift = np.roll(noise, 7 * (start >> 20) + position)
                    drift = np.roll(noise, 13 * (start >> 20) + 1000 * number)
                    yield (shift + np.float32(0.01) * drift)[: spec.size - start]
            writer.add_blocks(spec, blocks())
"""

FLOOR = """
import os, sys, time
from concurrent.futures import ThreadPoolExecutor
from crc32c import crc32c

paths, out, block = sys.argv[2:], sys.argv[1], 1 << 20
started = time.perf_counter()
jobs = [(p, o) for p in paths for o in range(0, os.path.getsize(p), block)]
files = {p: os.open(p, os.O_RDONLY) for p in paths}
def read(worker):
    buffer = memoryview(bytearray(block))
    for path, offset in jobs[worker :: os.cpu_count()]:
        crc32c(buffer[: os.preadv(files[path], [buffer], offset)])
with ThreadPoolExecutor(os.cpu_count()) as pool:
    list(pool.map(read, range(os.cpu_count())))
read_s = time.perf_counter() - started
size = os.path.getsize(paths[0])
buffer = memoryview(bytearray(block))
# As a new file that replaces the old one when it is whole: the pages of a file that is truncated
# and written again would come back warm, which no safe writer can have.
with open(f"{out}.new", "wb", buffering=0) as file:
    for start in range(0, size, block):
        file.write(buffer[: size - start])
    os.fsync(file.fileno())
os.replace(f"{out}.new", out)
print(f"FLOOR {time.perf_counter() - started:.3f} read {read_s:.3f}")
"""

BASELINE = """
import sys
import numpy as np
import tensorflow as tf

out, *prefixes = sys.argv[1:]
readers = [tf.train.load_checkpoint(prefix) for prefix in prefixes]
means = {}
for name, dtype in readers[0].get_variable_to_dtype_map().items():
    if dtype == tf.float32:
        total = np.zeros(readers[0].get_variable_to_shape_map()[name], np.float64)
        for reader in readers:
            total += reader.get_tensor(name)
        means[name] = (total / len(readers)).astype(np.float32)
    else:
        means[name] = readers[-1].get_tensor(name)
names = sorted(means)
tf.raw_ops.SaveV2(
    prefix=out, tensor_names=names, shape_and_slices=[""] * len(names),
    tensors=[means[name] for name in names],
)
"""


def run(arguments):
    """Run a process; return seconds, seconds of CPU, peak MB and its output."""
    output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed below
    started = time.perf_counter()
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=output, stderr=subprocess.STDOUT, env=environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    output.seek(0)
    text = output.read()
    output.close()
    if process.returncode:
        sys.exit(text)
    return elapsed, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", default=tempfile.gettempdir())
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="bench-") as directory:
        run(["-c", MAKE, directory, str(options.count)])
        prefixes = [f"{directory}/model.ckpt-{1000 + n * 100}" for n in range(options.count)]
        data = [f"{prefix}.data-00000-of-00001" for prefix in prefixes]
        size = Path(data[0]).stat().st_size
        print(f"{options.count} checkpoints of {size / 1e6:.0f} MB; best of {options.rounds}")
        print("x: median over rounds of the time over the floor's of the same round")
        command = ["-m", "yt8m_ensemble"]
        average = [*command, "avg-ckpt", "--prefix", directory, "--last", str(options.count)]
        cases = {
            "floor": ["-c", FLOOR, f"{directory}/floor", *data],
            "avg-ckpt": [*average, "--force", "--out", f"{directory}/avg/ours"],
            "avg-ckpt --weights linear": [
                *average, "--weights", "linear", "--force", "--out", f"{directory}/avg/linear",
            ],
            "inspect --no-stats": [*command, "inspect", "--no-stats", prefixes[0]],
            "inspect": [*command, "inspect", prefixes[0]],
            "inspect --diff": [*command, "inspect", prefixes[0], "--diff", prefixes[1]],
            "--help": [*command, "--help"],
            "load_checkpoint + SaveV2": ["-c", BASELINE, f"{directory}/avg/tf", *prefixes],
        }  # fmt: skip
        runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in cases}
        for _ in range(options.rounds):  # round by round, so that all see the same other load
            for name, arguments in cases.items():
                elapsed, cpu, peak, text = run(arguments)
                if name == "floor":  # without the start of its interpreter
                    elapsed = float(text.split()[1])
                runs[name].append((elapsed, cpu, peak))
        for name, found in runs.items():
            elapsed, cpu, peak = (min(values) for values in zip(*found, strict=True))
            pairs = zip(found, runs["floor"], strict=True)
            ratio = statistics.median(ours[0] / floor[0] for ours, floor in pairs)
            print(f"{name:26s} {elapsed:7.3f} s {ratio:6.2f} x {cpu:7.2f} cpu s {peak:6.0f} MB")


if __name__ == "__main__":
    main()
