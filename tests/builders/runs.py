"""Directories as `run` leaves them, made of small caches without training anything."""

import json

import numpy as np

from tests.builders.predictions import make_predictions
from yt8m_ensemble.storage import PredictionsWriter
from yt8m_ensemble.values import MixtureWeights

DETAILS = {"method": "nelder-mead", "chosen_by": "out of fold", "shrinkage": 0.5, "seed": 0}


def write_cache(path, scores, labels, *, members, top_k=None):
    """Write a prediction cache of videos `v0000`, `v0001` and so on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with PredictionsWriter(
        str(path), members=members, digests=members, num_classes=scores.shape[2], top_k=top_k
    ) as writer:
        writer.append(np.array([b"v%04d" % n for n in range(scores.shape[1])]), scores, labels)
    return str(path)


def make_run(
    out, *, members=("a", "b", "c"), num_videos=200, num_classes=40, noise=0.0, name="e", seed=0
):
    """Make a run that tuned and predicted its bundle, without models; noise harms its scores."""
    scores, labels = make_predictions(num_videos, num_classes, len(members), seed=seed)
    rng = np.random.default_rng(seed)
    harmed = np.clip(scores + noise * rng.standard_normal(scores.shape), 0, 1).astype(np.float32)
    folder = out / name
    for stem, moved in (("last", 0.98), ("averaged", 1.0), ("merged", 1 - 1e-4)):
        write_cache(folder / f"predictions/{stem}.h5", harmed * np.float32(moved), labels,
                    members=members)  # fmt: skip
    values = np.arange(1, len(members) + 1) / sum(range(1, len(members) + 1))
    weights = MixtureWeights(
        tuple(members), tuple(values.tolist()), "logit", {**DETAILS, "holdout": 0.5}
    )
    (folder / "weights.json").write_text(weights.to_json())
    steps = out / ".steps"
    steps.mkdir(exist_ok=True)
    checks = [{"name": "four files", "is_ok": True, "detail": "4"}]
    record = {
        "format": 2,
        "key": "k",
        "outputs": {},
        "elapsed_s": 2.5,
        "result": {"checks": checks},
    }
    (steps / f"{name}.verify.json").write_text(json.dumps(record))
    return out
