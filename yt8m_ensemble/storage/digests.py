"""Digest what a predictions file says, not its bytes: HDF5 stamps the time into every file."""

from __future__ import annotations

import hashlib

from yt8m_ensemble.storage.reader import open_predictions

_ROW_BLOCK = 1024


def predictions_digest(path: str) -> str:
    """Return the SHA-256 of a predictions file's content in hexadecimal.

    Two files of the same members, videos, scores and labels have the same digest, however they were
    cut into batches and shards and whether their writing was interrupted.

    Args:
        path: The file.
    """
    digest = hashlib.sha256()
    with open_predictions(path) as opened:
        digest.update(repr((opened.header, opened.is_complete, opened.num_videos)).encode())
        digest.update(b"\n".join(opened.video_ids.tolist()))
        labels = opened.labels
        if labels is not None:
            digest.update(labels.indptr.tobytes())
            digest.update(labels.class_ids.tobytes())
        groups = ["scores", *(["class_ids"] if opened.top_k else [])]
        groups += ["bounds"] if opened.header.has_bounds else []
        for group in groups:
            for member in range(len(opened.members)):
                for rows in opened.stored(group, member, rows=_ROW_BLOCK):
                    digest.update(rows.tobytes())
    return digest.hexdigest()
