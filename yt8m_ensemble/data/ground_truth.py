"""Ground truth as CSV: one `VIDEO_ID,LABEL1 LABEL2` line a video, with or without a header."""

from __future__ import annotations

import numpy as np

from yt8m_ensemble.errors import DataError
from yt8m_ensemble.files import exists, read_text
from yt8m_ensemble.values import Labels, csv_rows

HEADER_ID = "videoid"


def read_ground_truth_csv(path: str, *, num_classes: int) -> Labels:
    """Read the labels of videos from a CSV file.

    A first line whose first field is `VideoId` (any case) is a header. Blank lines are skipped; a
    video may have no label; a label given twice counts once.

    Args:
        path: The file, UTF-8.
        num_classes: Classes in all.

    Returns:
        Labels in the file's order, class ids rising within a video.

    Raises:
        DataError: If there is no such file, a line is not of that form, a label is not in
            `[0, num_classes)`, or a video comes twice; carries `path` and `line` (from 1).
    """
    if not exists(path):
        msg = f"No ground-truth file at '{path}'. Check the path."
        raise DataError(msg, path=path)
    rows: dict[str, list[int]] = {}
    for line, fields in csv_rows(read_text(path), path=path):
        text = ",".join(fields)
        video_id, labels = (*(field.strip() for field in fields[:2]), "", "")[:2]
        if not text.strip() or (line == 1 and video_id.lower() == HEADER_ID):
            continue
        is_row = len(fields) == len(("VIDEO_ID", "LABELS")) and video_id
        if not is_row or not all(label.isdecimal() for label in labels.split()):
            msg = (
                f"Line {line} of '{path}' is '{text[:60]}', "
                "expected 'VIDEO_ID,LABEL1 LABEL2' with whole numbers."
            )
            raise DataError(msg, path=path, line=line)
        if video_id in rows:
            msg = f"Line {line} of '{path}' repeats video '{video_id}'. Keep one line a video."
            raise DataError(msg, path=path, line=line, video_id=video_id)
        classes = sorted({int(label) for label in labels.split()})
        if classes and classes[-1] >= num_classes:
            msg = (
                f"Line {line} of '{path}' has label {classes[-1]}, but there are {num_classes} "
                "classes. Set `--num-classes`."
            )
            raise DataError(msg, path=path, line=line, label=classes[-1], num_classes=num_classes)
        rows[video_id] = classes
    counts = [len(classes) for classes in rows.values()]
    return Labels(
        np.array([video_id.encode() for video_id in rows], np.bytes_),
        np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
        np.array([c for classes in rows.values() for c in classes], np.int32),
        num_classes,
    )
