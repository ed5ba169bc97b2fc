"""`yt8m-ens merge-predictions`."""

from __future__ import annotations

from yt8m_ensemble.cli.options import Given, command


@command(
    "merge-predictions",
    "JoinOptions",
    dry_run=True,
    examples=["yt8m-ens merge-predictions part0.h5 part1.h5 --out val.h5"],
)
def merge_predictions(given: Given) -> None:
    """Join the prediction caches that `predict --shard I/N` wrote into one."""
    from yt8m_ensemble.steps import merge_predictions as steps

    run = steps.plan_merge_predictions if given.dry_run else steps.merge_predictions
    result = given.run(run)
    members = f"{len(result.members)} members"
    text = f"{result.num_videos} videos of {members} in {result.num_shards} shards."
    given.emit(result, text=text)
