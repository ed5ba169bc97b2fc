"""Compare scores with a Kaggle CSV that the original code wrote (six digits a score)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np


def largest_difference(path: Path, video_ids: np.ndarray, scores: np.ndarray) -> float:
    """Return the largest |score - stored score| over all pairs of the file."""
    rows = {video_id.decode(): row for row, video_id in enumerate(video_ids.tolist())}
    largest, pairs = 0.0, 0
    for line in path.read_text().splitlines()[1:]:
        video_id, _, listed = line.partition(",")
        numbers = listed.split()
        for class_id, score in zip(numbers[::2], numbers[1::2], strict=True):
            found = scores[rows[video_id], int(class_id)]
            largest = max(largest, abs(float(found) - float(score)))
            pairs += 1
    assert pairs >= len(rows)
    return largest
