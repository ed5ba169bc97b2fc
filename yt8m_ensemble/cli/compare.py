"""`yt8m-ens compare`."""

from __future__ import annotations

import click

from yt8m_ensemble.cli import options


@click.command(
    epilog=options.epilog(
        "yt8m-ens compare --predictions val.h5 --weights weights.json --plot compare.png"
    )
)
@click.option(
    "--predictions",
    multiple=True,
    required=True,
    metavar="H5",
    help="Cached predictions; repeat for members of the same videos in several files.",
)
@click.option("--weights", metavar="W.json", help="Mixture weights; without, members count alike.")
@click.option(
    "--space",
    type=click.Choice(["probability", "logit", "geometric"]),
    default="probability",
    show_default=True,
    help="Mixing space without `--weights`.",
)
@click.option("--intersect", is_flag=True, help="Keep the videos that all files hold.")
@click.option("--plot", metavar="OUT.png", help="Draw disagreement and frequency bands.")
@options.force_option
@options.json_option
def compare(*, as_json: bool, **others: object) -> None:
    """Show how members differ and what their mixture fixes and breaks."""
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.steps.compare import compare_predictions

    with render.ProgressBar() as progress:
        result = compare_predictions(progress=progress, **others)  # type: ignore[arg-type]
    found = result.comparison
    pairs = [
        (" / ".join(p.members), f"{p.correlation:.3f}", f"{p.disagreement:.3f}",
         f"{p.only_first:.3f}", f"{p.only_second:.3f}")
        for p in found.pairs
    ]  # fmt: skip
    bands = [
        (f"{b.low} … {b.high}", str(b.num_classes), *(f"{gap:.4f}" for gap in b.gaps.values()))
        for b in found.bands
    ]
    classes = [
        (str(c.class_id), str(c.num_positives), f"{c.best_single:.4f}", f"{c.mixture:.4f}")
        for c in found.classes
    ]
    truncated = ""
    if result.gap_interval:
        low, high = result.gap_interval
        truncated = (
            "\nThe predictions keep a top K only, so these are estimates; with all scores the "
            f"mixture's GAP lies between {low:.5f} and {high:.5f}."
        )
    render.emit(
        result,
        as_json=as_json,
        tables=[
            render.Table("GAP", tuple(found.gaps), [[f"{g:.5f}" for g in found.gaps.values()]]),
            render.Table(
                "Pairs", ("members", "correlation", "differ", "first right", "second right"), pairs
            ),
            render.Table(
                "GAP by positives of a class", ("positives", "classes", *found.gaps), bands
            ),
            render.Table(
                "Classes that changed most",
                ("class", "positives", found.best_single, "mixture"),
                classes,
            ),
        ],
        text=(
            f"Of {found.num_videos} videos the mixture puts a positive on top in "
            f"{len(found.fixed)} where {found.best_single} does not, and loses "
            f"{len(found.broken)}; `--json` lists them.{truncated}"
        ),
    )
