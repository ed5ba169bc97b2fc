"""Targets of distillation follow the cache, whether it keeps every score or a top K."""

import numpy as np
import pytest

from yt8m_ensemble.storage import PredictionsWriter
from yt8m_ensemble.training.teacher import Teacher

SCORES = np.random.default_rng(0).random((1, 6, 9), np.float32)


@pytest.mark.parametrize("top_k", [None, 3])
def test_targets_mix_kept_scores_into_labels(tmp_path, top_k):
    path = str(tmp_path / "t.h5")
    with PredictionsWriter(path, members="a", digests="a", num_classes=9, top_k=top_k) as writer:
        writer.append(np.array([b"v%d" % n for n in (3, 1, 5, 0, 2, 4)]), SCORES, None)
    labels = np.eye(9, dtype=np.float32)[[2, 8]]
    targets = Teacher(path, weight=0.25, num_classes=9).targets(np.array([b"v2", b"v3"]), labels)
    scores = SCORES[0, [4, 0]]
    if top_k:
        # What the cache left out counts as half of the lowest that it keeps of the video.
        lowest = np.sort(scores, axis=1)[:, -top_k, None]
        scores = np.where(scores >= lowest, scores, lowest / 2)
    np.testing.assert_allclose(targets, 0.75 * labels + 0.25 * scores, rtol=1e-6)
