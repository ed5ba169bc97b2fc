"""`yt8m-ens select`."""

from __future__ import annotations

import click

from yt8m_ensemble.cli import options


def _parse_sizes(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, int]:
    size = options.ByteSize()
    parts = (value.rpartition("=") for value in values)
    return {name: size.convert(text, parameter, context) for name, _, text in parts}


@click.command(
    epilog=options.epilog(
        "yt8m-ens select --predictions val.h5 --model a=runs/a --model b=runs/b --max-size 1GB",
        "yt8m-ens select --predictions val.h5 --size a=480MB --size b=900MB --plot frontier.png",
    )
)
@click.option(
    "--predictions",
    multiple=True,
    required=True,
    metavar="H5",
    help="Cached predictions; a member NAME@uint8 tells how NAME scores in uint8.",
)
@click.option(
    "--model", "models", multiple=True, metavar="NAME=PATH", help="A member's model, for its size."
)
@click.option(
    "--size",
    "sizes",
    multiple=True,
    metavar="NAME=BYTES",
    callback=_parse_sizes,
    help="A member's float32 size instead.",
)
@click.option(
    "--precisions",
    default="float16",
    show_default=True,
    callback=options.split_commas,
    help="Precisions to consider: float32, float16, uint8, uint4.",
)
@options.max_size_option
@click.option(
    "--space",
    type=click.Choice(["auto", "probability", "logit", "geometric"]),
    default="auto",
    show_default=True,
    help="Where members are averaged.",
)
@click.option(
    "--holdout",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.5,
    show_default=True,
    help="Share of videos that only judges the result.",
)
@click.option("--out", metavar="W.json", help="Write the mixture weights of the choice.")
@click.option("--plot", metavar="OUT.png", help="Draw the frontier of GAP against bytes.")
@options.seed_option
@options.writes_output
def select(*, as_json: bool, **others: object) -> None:
    """Choose the members, and their precision, that fit a byte budget with the highest GAP."""
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.plotting import describe_choice
    from yt8m_ensemble.steps.select import select_ensemble

    with render.ProgressBar() as progress:
        result = select_ensemble(progress=progress, **others)  # type: ignore[arg-type]
    variants = [
        (v.name, render.format_bytes(v.size_bytes), "measured" if v.is_measured else "assumed")
        for v in result.variants
    ]
    tables = [render.Table("Variants", ("variant", "size", "scores"), variants)]
    text = "Nothing chosen: a dry run."
    if result.selection is not None:
        frontier = [
            (describe_choice(c), render.format_bytes(c.size_bytes), f"{c.gap_in_sample:.5f}",
             f"{c.gap_out_of_fold:.5f}", f"{c.gap_held_out:.5f}")
            for c in result.selection.frontier
        ]  # fmt: skip
        columns = ("members", "size", "in sample", "out of fold", "held out")
        tables.append(render.Table("GAP against bytes", columns, frontier))
        how = "every set considered" if result.selection.is_exact else "greedy with swaps"
        text = f"Chosen ({how}): {describe_choice(result.selection.chosen)}."
    render.emit(result, as_json=as_json, tables=tables, text=text)
