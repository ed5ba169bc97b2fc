"""`yt8m-ens merge-predictions`."""

from __future__ import annotations

import click

from yt8m_ensemble.cli import options


@click.command(
    "merge-predictions",
    epilog=options.epilog("yt8m-ens merge-predictions part0.h5 part1.h5 --out val.h5"),
)
@click.argument("parts", nargs=-1, required=True, metavar="H5...")
@click.option("--out", required=True, metavar="OUT.h5", help="Prediction file to write.")
@options.writes_output
def merge_predictions(*, as_json: bool, **others: object) -> None:
    """Join the prediction files that `predict --shard I/N` wrote into one."""
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.steps.merge_predictions import merge_predictions as run

    with render.ProgressBar() as progress:
        result = run(progress=progress, **others)  # type: ignore[arg-type]
    members = f"{len(result.members)} members"
    text = f"{result.num_videos} videos of {members} in {result.num_shards} shards."
    render.emit(result, as_json=as_json, text=text)
