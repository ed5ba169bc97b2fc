"""The input pipeline beside floors of the same run: raw reading, and raw reading with bare output.

    python tests/bench/bench_data.py [--frame-videos 1000] [--video-videos 60000] [--rounds 3]

Rows, for each level: `raw` reads records and does nothing with them; `bound` also writes arrays of
the size that a batch has, with nothing in them; `read` is `BatchReader`, which parses, checks,
dequantises and pads; `train` is one epoch of `training_dataset`, which shuffles instead, and pads
frames as bytes. Pipelines are built and traced before the clock starts. Rates are the best of
the rounds, which take turns; CPU time is of all cores.
"""

import argparse
import os
import tempfile
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tensorflow as tf

from yt8m_ensemble.data import BatchReader, training_dataset
from yt8m_ensemble.files import expand_globs
from yt8m_ensemble.options.choices import Level
from yt8m_ensemble.steps.synth import synthesize
from yt8m_ensemble.values import FeatureSpec

SIZES = (1024, 128)
LEVELS: dict[Level, tuple[FeatureSpec, int]] = {
    "frame": (FeatureSpec(("rgb", "audio"), SIZES, frame_level=True), 64),
    "video": (FeatureSpec(("mean_rgb", "mean_audio"), SIZES, frame_level=False), 1024),
}
NUM_CLASSES = 3862


def raw_reader(paths, batch_size, make):
    """Return what reads records, all files at once, and makes one tensor of each batch."""
    dataset = tf.data.Dataset.from_tensor_slices(paths).interleave(
        lambda path: tf.data.TFRecordDataset(path, buffer_size=4 << 20),
        cycle_length=os.cpu_count(),
        block_length=16,
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    dataset = dataset.batch(batch_size).map(make, num_parallel_calls=tf.data.AUTOTUNE).prefetch(1)
    return lambda: sum(int(count) for count, _ in dataset.as_numpy_iterator())


def measure(level, paths):
    """Return the readers of a level, each a function that returns how many videos it read."""
    spec, batch_size = LEVELS[level]
    shape = [spec.max_frames, spec.total_size] if spec.frame_level else [spec.total_size]

    def fill(records):
        count = tf.shape(records)[0]
        return count, tf.fill([count, *shape], tf.cast(count, tf.float32))

    options: dict[str, Any] = {
        "features": spec, "num_classes": NUM_CLASSES, "batch_size": batch_size
    }  # fmt: skip
    batches = BatchReader(paths, **options)
    shuffled = training_dataset(paths, **options, num_epochs=1, seed=0)
    return {
        "raw": raw_reader(paths, batch_size, lambda records: (tf.shape(records)[0], 0)),
        "bound": raw_reader(paths, batch_size, fill),
        "read": lambda: sum(len(batch.video_ids) for batch in batches),
        "train": lambda: sum(len(batch["labels"]) for batch in shuffled.as_numpy_iterator()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frame-videos", type=int, default=1000)
    parser.add_argument("--video-videos", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sizes: dict[Level, int] = {"frame": options.frame_videos, "video": options.video_videos}
        for level, videos in sizes.items():
            out = f"{folder}/{level}"
            synthesize(out=out, level=level, videos=videos, classes=NUM_CLASSES, shards=8)
            readers = measure(level, expand_globs(f"{out}/*", option="--out"))
            best = dict.fromkeys(readers, (np.inf, np.inf))
            for _ in range(options.rounds + 1):  # the first warms the page cache
                for name, reader in readers.items():
                    wall, cpu = time.perf_counter(), time.process_time()
                    assert reader() == videos
                    spent = time.perf_counter() - wall, time.process_time() - cpu
                    best[name] = min(best[name][0], spent[0]), min(best[name][1], spent[1])
            for name, (wall, cpu) in best.items():
                print(
                    f"{level} {name:6} {videos / wall:10,.0f} videos/s "
                    f"({best['raw'][0] / wall:4.0%} of raw, {best['bound'][0] / wall:4.0%} of "
                    f"bound)   {cpu / videos * 1e6:7.1f} us of CPU a video "
                    f"({best['raw'][1] / cpu:4.0%}, {best['bound'][1] / cpu:4.0%})"
                )


if __name__ == "__main__":
    main()
