"""Time the merged graph against its members alone, and what decoding narrow weights costs.

    python tests/bench/bench_merged_graph.py [--batch 64] [--rounds 15]

Three gated NetVLADs on 1,152 features and 300 frames, random weights, one process, one batch. The
rounds take every graph in turn, so that a machine that drifts drifts for all.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from tests.builders.models import write_train_dir
from yt8m_ensemble.inference import GraphRunner
from yt8m_ensemble.loading.model import open_model
from yt8m_ensemble.models import make_model, model_options
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.values import FeatureSpec, ModelFlags

SIZES = {"a": (24, 96), "b": (32, 64), "c": (16, 128)}
STORAGES: dict[str, dict[str, Any]] = {
    "merged float32": {},
    "merged float16": {"fp16": "auto"},
    "merged uint8": {"quantize": "uint8"},
    "merged uint4": {"quantize": "uint4"},
}


def make_members(directory, classes):
    """Write a train directory for each size and return their paths."""
    features = FeatureSpec(("rgb", "audio"), (1024, 128), frame_level=True)
    for seed, (name, (clusters, hidden)) in enumerate(SIZES.items()):
        options = {
            "netvlad_cluster_size": clusters,
            "netvlad_hidden_size": hidden,
            "gating": True,
            "moe_prob_gating": True,
        }
        made = make_model("NetVLADModelLF", options)
        flags = ModelFlags("NetVLADModelLF", features, classes, options=model_options(made))
        write_train_dir(directory / name, flags, seed=seed, scale=0.02)
    return [str(directory / name) for name in SIZES]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--classes", type=int, default=1000)
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    batch = draw.normal(size=(options.batch, 300, 1152)).astype(np.float32)
    frames = draw.integers(60, 301, options.batch).astype(np.int32)
    with tempfile.TemporaryDirectory() as folder:
        members = make_members(Path(folder), options.classes)
        paths = {f"member {name}": path for name, path in zip(SIZES, members, strict=True)}
        for name, storage in STORAGES.items():
            paths[name] = f"{folder}/{name.replace(' ', '-')}"
            merge_models(members=members, out=paths[name], **storage)
        runners: dict[str, GraphRunner] = {}
        sizes: dict[str, int] = {}
        for name, path in paths.items():
            with open_model(path) as model:
                runners[name], sizes[name] = GraphRunner(model.graph, model.source), model.nbytes
        times: dict[str, list[float]] = {name: [] for name in runners}
        for number in range(options.rounds + 2):
            for name, runner in runners.items():
                started = time.perf_counter()
                runner.predict(batch, frames)
                if number >= 2:
                    times[name].append(time.perf_counter() - started)
    median = {name: statistics.median(found) for name, found in times.items()}
    together = sum(median[f"member {name}"] for name in SIZES)
    print(f"batch of {options.batch}, {options.classes} classes, median of {options.rounds}")
    for name, seconds in median.items():
        ratio = f"{seconds / together:6.3f} x members" if name.startswith("merged") else ""
        rate = options.batch / seconds
        print(f"{name:16} {seconds * 1e3:8.1f} ms {rate:8.1f} videos/s "
              f"{sizes[name] / 1e6:8.1f} MB {ratio}")  # fmt: skip


if __name__ == "__main__":
    main()
