"""`merge-predictions`: the parts that `predict --shard I/N` wrote become one prediction file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yt8m_ensemble.storage.joining import JoinedPredictions, join_predictions
from yt8m_ensemble.values import Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Sequence


def merge_predictions(
    *,
    parts: Sequence[str],
    out: str,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> JoinedPredictions:
    """Join prediction files of different videos by the same members; see `join_predictions`.

    Returns:
        What was joined.
    """
    return join_predictions(parts=parts, out=out, force=force, dry_run=dry_run, progress=progress)
