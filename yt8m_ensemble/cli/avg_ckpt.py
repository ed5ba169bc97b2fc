"""`yt8m-ens avg-ckpt`."""

from __future__ import annotations

import click

from yt8m_ensemble.cli import options


def _parse_range(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    parts = options.split_commas(context, parameter, value)
    if not parts:
        return None
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):  # noqa: PLR2004 - A and B
        msg = f"'{value}' is not two steps such as 7000,9000."
        raise click.BadParameter(msg)
    return int(parts[0]), int(parts[1])


@click.command(
    "avg-ckpt",
    epilog=options.epilog(
        "yt8m-ens avg-ckpt --prefix runs/moe2 --last 5 --out runs/avg/moe2",
        "yt8m-ens avg-ckpt --prefix runs/moe2/model.ckpt --range 7000,9000 --out runs/avg/moe2",
        "yt8m-ens avg-ckpt --checkpoints a/model.ckpt-5,a/model.ckpt-9 --weights 1,2 --out avg",
    ),
)
@click.option(
    "--prefix",
    multiple=True,
    metavar="PATH",
    help="A train directory, its DIR/model.ckpt, or one checkpoint; repeat for more.",
)
@click.option(
    "--range", "step_range", callback=_parse_range, metavar="A,B", help="Steps A to B, both in."
)
@click.option(
    "--checkpoints",
    callback=options.split_commas,
    metavar="a,b,c",
    help="Steps of the train directory, or whole checkpoint prefixes.",
)
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="The N newest.")
@click.option(
    "--weights",
    default="uniform",
    show_default=True,
    metavar="uniform|linear|ema:D|a,b,…",
    help="How much each counts, oldest first.",
)
@click.option(
    "--soup", type=click.Choice(["greedy"]), help="Average only what raises GAP on --eval-data."
)
@click.option("--search", is_flag=True, help="Try the last k for every k; keep the best, draw all.")
@click.option(
    "--eval-data", metavar="GLOB", help="Held-out records that --soup, --search, … are judged by."
)
@click.option(
    "--recalibrate-bn",
    metavar="GLOB",
    help="Re-estimate batch norm over these records; keep it if GAP on --eval-data rises.",
)
@options.batch_size_option
@click.option("--keep-optimizer", is_flag=True, help="Average the optimizer's slots as well.")
@click.option(
    "--allow-different-runs", is_flag=True, help="Average weights of different training runs."
)
@click.option("--allow-nonfinite", is_flag=True, help="Let NaN and infinity through.")
@click.option("--out", required=True, metavar="PREFIX", help="Where the average goes.")
@options.writes_output
def avg_ckpt(as_json: bool, checkpoints: tuple[str, ...], **others: object) -> None:
    """Average checkpoints of one training run into one checkpoint.

    Sums are made in float64, block by block: memory does not grow with the number or size of the
    checkpoints. The optimizer's slots are left out, the global step is the newest one's, and the
    train directory's `checkpoint` file is not touched.
    """
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.steps.avg_ckpt import average_checkpoints

    with render.ProgressBar() as progress:
        result = average_checkpoints(
            checkpoints=checkpoints or None,
            progress=progress,
            **others,  # type: ignore[arg-type]  # click has checked the types
        )
    tables = []
    if result.trials:
        rows = [
            [str(len(t.inputs)), t.inputs[-1], f"{t.score:.5f}", "yes" if t.kept else ""]
            for t in result.trials
        ]
        tables.append(render.Table("Tried", ["averaged", "the one added", "GAP", "kept"], rows))
    if found := result.recalibration:
        row = [f"{found.before:.5f}", f"{found.after:.5f}", "yes" if found.kept else "no"]
        tables.append(render.Table("Batch norm re-estimated", ["before", "after", "kept"], [row]))
    pairs = zip(result.inputs, result.weights, strict=True)
    title = f"Mean of {len(result.inputs)} checkpoints: {result.num_tensors} tensors, "
    title += render.format_bytes(result.nbytes)
    rows = [[path, f"{weight:.4f}"] for path, weight in pairs]
    tables.append(render.Table(title, ["checkpoint", "weight"], rows))
    render.emit(result, as_json=as_json, tables=tables, text=result.prefix)
