"""Ids and labels of records; their features are read over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.data.reading import read_batches
from yt8m_ensemble.data.record_info import read_record_info
from yt8m_ensemble.values import FeatureSpec, Labels, Progress, check_distinct, no_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

_BATCH = 64


def read_labels(
    paths: Sequence[str], *, num_classes: int, progress: Progress = no_progress
) -> Labels:
    """Read the labels of records.

    Args:
        paths: Record files.
        num_classes: Classes C.
        progress: Called with the number of videos read.

    Returns:
        Labels in the order of the records; of a video without labels an empty row.

    Raises:
        DataError: If a record does not fit, or a video comes twice.
    """
    info = read_record_info(paths[0])
    # One small feature suffices to tell records from other files.
    name = min(info.sizes, key=lambda key: info.sizes[key], default="")
    spec = FeatureSpec((name,), (info.sizes.get(name, 1),), frame_level=info.frame_level)
    ids, counts = [np.zeros(0, "S1")], [np.zeros(1, np.int64)]
    classes = [np.zeros(0, np.int64)]
    for batch in read_batches(paths, features=spec, num_classes=num_classes, batch_size=_BATCH):
        ids.append(batch.video_ids)
        counts.append(batch.labels.sum(axis=1))
        classes.append(np.nonzero(batch.labels)[1])
        progress("read labels", sum(map(len, ids)), None, unit="videos")
    video_ids = np.concatenate(ids)
    check_distinct(video_ids, names=["the records of `--labels`"], ends=[len(video_ids)])
    return Labels(
        video_ids,
        np.cumsum(np.concatenate(counts)),
        np.concatenate(classes).astype(np.int32),
        num_classes,
    )
