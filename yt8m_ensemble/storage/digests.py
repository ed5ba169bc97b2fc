"""Digest what a predictions file says, not its bytes: HDF5 stamps the time into every file."""

from __future__ import annotations

import hashlib

import h5py

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
        num_videos = opened.num_videos
    with h5py.File(path, "r") as file:
        for group in ("scores", "class_ids"):
            for name in sorted(file.get(group, ())):
                rows = file[group][name]
                for start in range(0, num_videos, _ROW_BLOCK):
                    digest.update(rows[start : min(start + _ROW_BLOCK, num_videos)].tobytes())
    return digest.hexdigest()
