"""Which videos are tuned on, held out, and in which fold: by seeded hashes of their ids alone.

So one seed gives one split to every command, wherever the scores come from. Scores nothing.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble import mapped
from yt8m_ensemble.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def split_videos(
    video_ids: NDArray[np.bytes_], *, fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split videos into those to tune on and those to hold out, by a seeded hash of their ids.

    The side of a video depends on its id and the seed alone, so more videos never move others.

    Args:
        video_ids: Shape `(N,)`, bytes.
        fraction: Share to hold out, in `[0, 1)`; 0 holds out none.
        seed: Seed of the hash.

    Returns:
        Rows to tune on and rows to hold out, rising.

    Raises:
        UsageError: If the fraction leaves a side without a video that should have some.
    """
    held_out = hash_videos(video_ids, key=f"hold out {seed}") < fraction
    tuned, held = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    if not len(tuned) or (fraction > 0 and not len(held)):
        msg = (
            f"Holding out {fraction:g} of {len(video_ids)} videos leaves {len(tuned)} to tune on "
            f"and {len(held)} to judge on. Use more videos, or hold out another share."
        )
        raise UsageError(msg, num_videos=len(video_ids), holdout=fraction)
    return tuned, held


def hash_videos(video_ids: NDArray[np.bytes_], *, key: str) -> NDArray[np.float64]:
    """Return a number in `[0, 1)` for each video id, uniform over ids and fixed for a key."""
    hashed = np.empty(len(video_ids))
    for part in mapped.blocks(len(video_ids)):
        digests = [
            hashlib.blake2b(video_id, digest_size=8, key=key.encode()).digest()
            for video_id in video_ids[part].tolist()
        ]
        hashed[part] = np.frombuffer(b"".join(digests), "<u8") / 2.0**64
    return hashed


def split_into_folds(
    video_ids: NDArray[np.bytes_], *, num_folds: int, seed: int
) -> list[NDArray[np.int64]]:
    """Split videos into folds of one size, by rank of a seeded hash.

    Args:
        video_ids: Shape `(N,)`, bytes.
        num_folds: Number of folds; 0 for none.
        seed: Seed of the hash.

    Returns:
        Rows of each fold.
    """
    order = np.argsort(hash_videos(video_ids, key=f"fold {seed}"))
    return [order[fold::num_folds] for fold in range(num_folds)]
