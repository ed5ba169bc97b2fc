"""`yt8m-ens verify`."""

from __future__ import annotations

import click

from yt8m_ensemble.cli import options


@click.command(
    epilog=options.epilog(
        "yt8m-ens verify blend.tgz",
        "yt8m-ens verify blend.tgz --data 'validate*.tfrecord' --against members.h5",
        "yt8m-ens verify blend.tgz --tf1 ~/venvs/tf115/bin/python",
    )
)
@click.argument("path", metavar="X.tgz")
@click.option("--data", metavar="GLOB", help="Records to predict.")
@click.option(
    "--against",
    metavar="FILE",
    help="Stored predictions: a cache (.h5) of the members, or a Kaggle CSV.",
)
@click.option("--tf1", metavar="PYTHON37", help="An interpreter with TensorFlow 1.x to run in too.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    help="Largest difference of a score.  [default: 1e-5; 0.005 with float16, 0.1 with codes]",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=128,
    show_default=True,
    help="Videos a batch.",
)
@options.max_size_option
@options.json_option
def verify(*, as_json: bool, **others: object) -> None:
    """Prove an archive: its structure, that plain TensorFlow loads it, what it predicts.

    The archive is loaded in a fresh process that holds none of this toolkit's code.
    """
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.steps.verify import verify_bundle

    with render.ProgressBar() as progress:
        result = verify_bundle(progress=progress, **others)  # type: ignore[arg-type]
    rows = [[check.name, "ok", check.detail] for check in result.checks]
    tables = [render.Table(result.path, ["check", "", "found"], rows)]
    compared = [(run.model, run.comparison) for run in result.runs if run.comparison]
    gaps = [
        [model.tensorflow, *("" if gap is None else f"{gap:.5f}" for gap in (c.gap, c.stored_gap))]
        for model, c in compared
        if c.gap is not None
    ]
    if gaps:
        tables.append(render.Table("GAP", ["TensorFlow", "archive", "stored"], gaps))
    render.emit(result, as_json=as_json, tables=tables, text=f"{result.path} is sound.")
