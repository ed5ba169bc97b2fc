"""`yt8m-ens run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from yt8m_ensemble.cli import options

if TYPE_CHECKING:
    from yt8m_ensemble.recipe import StepOutcome


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
    tables = [render.report_table(report) for report in result.reports]
    text = "\n".join(f"verified: {report.bundle}" for report in result.reports)
    render.emit(result, as_json=as_json, tables=tables, text=text)


def _say(outcome: StepOutcome) -> None:
    took = f"  {outcome.elapsed_s:.1f} s" if outcome.elapsed_s else ""
    click.echo(f"{outcome.name}: {outcome.status}{took}", err=True)
