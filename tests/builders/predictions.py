"""Small long-tailed predictions of unlike members, with labels that they half know."""

import numpy as np


def make_predictions(num_videos=200, num_classes=60, num_members=3, *, seed=0):
    """Scores (M, N, C) float32 and labels (N, C): members share some errors and own others."""
    rng = np.random.default_rng(seed)
    prior = 1 / (np.arange(num_classes) + 5)
    labels = rng.random((num_videos, num_classes)) < 3 * prior / prior.sum()
    shared = rng.standard_normal(labels.shape)
    logits = np.log(prior) + 4 * labels + shared
    members = [
        (logits + rng.standard_normal(labels.shape) * (0.6 + 0.2 * m)) * (1 + 0.2 * m)
        for m in range(num_members)
    ]
    return (1 / (1 + np.exp(-np.stack(members)))).astype(np.float32), labels


def blocks(scores, labels, *, size=64):
    """Cut dense arrays into row blocks."""
    for start in range(0, len(labels), size):
        yield scores[:, start : start + size], labels[start : start + size]
