"""`merge-predictions`: the parts that `predict --shard I/N` wrote become one prediction file."""

from __future__ import annotations

from yt8m_ensemble.options import JoinOptions, command
from yt8m_ensemble.storage.joining import JoinedPredictions, join_predictions, plan_join


@command(JoinOptions)
def merge_predictions(options: JoinOptions) -> JoinedPredictions:
    """Join prediction files of different videos by the same members.

    Shards come in the order of their names, whatever part holds them, so the result does not
    depend on how many writers there were. An interrupted merge goes on where it stopped.

    Returns:
        What was joined.

    Raises:
        OutputExistsError: If `out` is complete and `force` is not set.
        PredictionsError: If parts are unfinished, of other members, or hold a shard or video twice.
    """
    return join_predictions(
        options.parts, options.out, force=options.force, progress=options.progress
    )


@command(JoinOptions)
def plan_merge_predictions(options: JoinOptions) -> JoinedPredictions:
    """Check what `merge_predictions` would join; write nothing.

    Returns:
        What would be joined.
    """
    return plan_join(options.parts, options.out, force=options.force)
