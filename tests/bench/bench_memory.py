"""Memory and time of `tune-weights`, `compare` and `eval --predictions` on generated caches.

    python tests/bench/bench_memory.py --folder DIR [--videos 50000 100000 200000] [--members 2 4 8]

The caches keep the top 100 of 3,862 classes with long-tailed labels. Each command is a process of
its own. `anonymous` is the highest RssAnon of it, `resident` the highest VmRSS, which also counts
the pages of mapped files: the system writes them out when memory is short. `CPU` counts all
threads; beside others on the machine it says more than the seconds.
"""

import argparse
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from yt8m_ensemble.storage import PredictionsWriter
from yt8m_ensemble.values import Kept

NUM_CLASSES, TOP_K, LISTED, BATCH = 3862, 100, 150, 4096
SECONDS_BETWEEN_LOOKS = 0.02
COMMANDS = {
    "tune-weights": ["tune-weights", "--folds", "5", "--bootstrap", "1000"],
    "compare": ["compare"],
    "eval": ["eval"],
}


def make_cache(path, *, num_videos, num_members, seed=0):
    """Members that rank the same plausible classes of each video with errors of their own."""
    rng = np.random.default_rng(seed)
    prior = np.log(1 / (np.arange(NUM_CLASSES) + 10)).astype(np.float32)
    names = [f"m{member}" for member in range(num_members)]
    with PredictionsWriter(
        path, members=names, digests=names, num_classes=NUM_CLASSES, top_k=TOP_K
    ) as writer:
        for start in range(0, num_videos, BATCH):
            size = min(BATCH, num_videos - start)
            draws = prior - np.log(rng.standard_exponential((size, NUM_CLASSES), np.float32) + 1e-9)
            listed = np.argpartition(draws, -LISTED, axis=1)[:, -LISTED:]
            listed.sort(axis=1)
            base = 1.5 * np.take_along_axis(draws, listed, axis=1) - 1
            kept = []
            for member in range(num_members):
                noise = rng.standard_normal((size, LISTED), np.float32)
                logits = base + (0.4 + 0.1 * member) * noise
                places = np.argpartition(logits, -TOP_K, axis=1)[:, -TOP_K:]
                places.sort(axis=1)
                scores = 1 / (1 + np.exp(-np.take_along_axis(logits, places, axis=1)))
                classes = np.take_along_axis(listed, places, axis=1).astype(np.int32)
                kept.append(Kept.exact(classes, scores.astype(np.float32)))
            labels = np.zeros((size, NUM_CLASSES), np.bool_)
            chances = 1 / (1 + np.exp(-base))
            true = rng.random((size, LISTED), np.float32) < chances
            np.put_along_axis(labels, listed, true, axis=1)
            ids = np.array([b"v%07d" % n for n in range(start, start + size)])
            writer.append_kept(ids, kept, labels)
            writer.end_shard(f"shard{start:08d}")


def run(arguments):
    """Seconds, CPU seconds, highest anonymous and highest resident MB of one command."""
    started, before = time.perf_counter(), os.times()
    process = subprocess.Popen(
        [sys.executable, "-m", "yt8m_ensemble", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    peaks = {"RssAnon": 0, "VmRSS": 0}

    def look():
        while process.poll() is None:
            text = Path(f"/proc/{process.pid}/status").read_text()
            for key, peak in peaks.items():
                if f"{key}:" in text:
                    peaks[key] = max(peak, int(text.split(f"{key}:")[1].split()[0]))
            time.sleep(SECONDS_BETWEEN_LOOKS)

    looking = threading.Thread(target=look)
    looking.start()
    code = process.wait()
    looking.join()
    if code:
        sys.exit(f"{' '.join(arguments)} ended with {code}")
    used = os.times()
    cpu = sum(used[2:4]) - sum(before[2:4])
    return time.perf_counter() - started, cpu, peaks["RssAnon"] / 1e3, peaks["VmRSS"] / 1e3


def main():
    """Generate the caches one after the other and run every command on each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True)
    parser.add_argument("--videos", type=int, nargs="+", default=[50_000, 100_000, 200_000])
    parser.add_argument("--members", type=int, nargs="+", default=[8])
    parser.add_argument("--commands", nargs="+", default=list(COMMANDS), choices=list(COMMANDS))
    given = parser.parse_args()
    print("command        videos  members  seconds      CPU  anonymous MB  resident MB")
    for num_videos in given.videos:
        for num_members in given.members:
            path = Path(given.folder, f"memory-{num_videos}-{num_members}.h5")
            if not path.exists():
                make_cache(str(path), num_videos=num_videos, num_members=num_members)
            for command in given.commands:
                found = run([*COMMANDS[command], "--predictions", str(path)])
                print(
                    f"{command:12} {num_videos:9,} {num_members:8} {found[0]:8.1f} "
                    f"{found[1]:8.1f} {found[2]:13.0f} {found[3]:12.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
