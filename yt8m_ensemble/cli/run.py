"""`yt8m-ens run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from yt8m_ensemble.cli import options

if TYPE_CHECKING:
    from yt8m_ensemble.cli.render import Table
    from yt8m_ensemble.recipe import EnsembleReport, StepOutcome


@click.command(
    epilog=options.epilog(
        "yt8m-ens run recipes/quickstart.toml",
        "yt8m-ens run recipes/real-video.toml --set shared=../shared --dry-run",
    )
)
@click.argument("recipe")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace a value of the recipe, e.g. `out=runs/b` or `video.tune.step=0.1`.",
)
@click.option("--from", "from_step", metavar="STEP", help="Run this step and all after it again.")
@options.writes_output
def run(*, recipe: str, overrides: tuple[str, ...], as_json: bool, **others: object) -> None:
    """Execute a recipe: a whole run, from records to a verified bundle, as one TOML file.

    Steps whose inputs and options have not changed are skipped; a run that was stopped goes on
    where it was.
    """
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.recipe import load_recipe, run_recipe

    with render.ProgressBar() as progress:
        result = run_recipe(
            load_recipe(recipe, options.parse_pairs(overrides, option="--set")),
            progress=progress,
            on_step=_say,
            **others,  # type: ignore[arg-type]  # click has checked the types
        )
    tables = [_table(report) for report in result.reports]
    text = "\n".join(map(_closing, result.reports))
    render.emit(result, as_json=as_json, tables=tables, text=text)


def _say(outcome: StepOutcome) -> None:
    took = f"  {outcome.elapsed_s:.1f} s" if outcome.elapsed_s else ""
    click.echo(f"{outcome.name}: {outcome.status}{took}", err=True)


def _table(report: EnsembleReport) -> Table:
    from yt8m_ensemble.cli import render

    rows = [[row.name, *(f"{gap:.5f}" for gap in row.gaps), row.note] for row in report.rows]
    sizes = ", ".join(f"{name} {render.format_bytes(size)}" for name, size in report.sizes.items())
    title = (
        f"{report.name}: GAP@20 on {report.num_videos:,} videos that nothing was tuned on "
        f"(standard error {report.gap_error:.4f})\n{sizes}"
    )
    return render.Table(title, ["", *report.columns, "mixture"], rows)


def _closing(report: EnsembleReport) -> str:
    gains = [
        f"tuned over {rival}: {gain:+.5f}, paired 95 % interval [{low:+.5f}, {high:+.5f}]"
        for rival, (gain, low, high) in report.gains.items()
    ]
    return "\n".join([*gains, f"verified: {report.bundle}", ""])
