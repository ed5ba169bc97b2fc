"""`yt8m-ens run`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from yt8m_ensemble.cli import options

if TYPE_CHECKING:
    from yt8m_ensemble.cli.render import Table
    from yt8m_ensemble.recipe import EnsembleReport, StepOutcome


@click.command(
    epilog="\b\nExamples:\n"
    "  yt8m-ens run recipes/quickstart.toml\n"
    "  yt8m-ens run recipes/real-video.toml --set shared=../shared --dry-run\n"
    "  yt8m-ens run --schema > recipe.schema.json"
)
@click.argument("recipe", required=False)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace a value of the recipe, e.g. `out=runs/b` or `video.tune.step=0.1`.",
)
@click.option("--from", "from_step", metavar="STEP", help="Run this step and all after it again.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of recipes, for editors.")
@click.option("--force", is_flag=True, help="Replace outputs of steps that have changed.")
@click.option(
    "--dry-run", is_flag=True, help="Check the recipe and show which steps would run; run none."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def run(
    *,
    recipe: str | None,
    overrides: tuple[str, ...],
    from_step: str | None,
    schema: bool,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Execute a recipe: a whole run, from records to a verified bundle, as one TOML file.

    Steps whose inputs and options have not changed are skipped; a run that was stopped goes on
    where it was.
    """  # noqa: DOC501 - a help text
    if schema:
        from yt8m_ensemble.options.recipe import recipe_schema

        click.echo(json.dumps(recipe_schema(), indent=2))
        return
    if recipe is None:
        msg = "Missing argument 'RECIPE'. Recipes to start from are in `recipes/`."
        raise click.UsageError(msg)
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.cli.progress_bar import command_progress
    from yt8m_ensemble.recipe import load_recipe, run_recipe

    with command_progress() as progress:
        result = run_recipe(
            load_recipe(recipe, options.parse_pairs(overrides, option="--set")),
            from_step=from_step,
            force=force,
            dry_run=dry_run,
            progress=progress,
            on_step=lambda outcome: progress.say(_line(outcome)),
        )
    tables = [_table(report) for report in result.reports]
    text = "\n".join(map(_closing, result.reports))
    if result.reports:
        text += f"\nreport: {result.page}"
    render.emit(result, as_json=as_json, tables=tables, text=text)


def _line(outcome: StepOutcome) -> str:
    from yt8m_ensemble.cli.progress_bar import format_duration

    step = f"[{outcome.number}/{outcome.num_steps}] {outcome.name}"
    took = f" in {format_duration(outcome.elapsed_s)}" if outcome.status == "ran" else ""
    status = "skipped" if outcome.status == "done before" else outcome.status
    return f"{step}: {status}{took}{f', {outcome.reason}' if outcome.reason else ''}"


def _table(report: EnsembleReport) -> Table:
    from yt8m_ensemble.cli.render import Table, format_bytes

    rows = [[row.name, *(f"{gap:.5f}" for gap in row.gaps)] for row in report.rows]
    sizes = ", ".join(f"{name} {format_bytes(size)}" for name, size in report.sizes.items())
    title = (
        f"{report.name}: GAP@20 on {report.num_videos:,} videos that nothing was tuned on "
        f"(standard error {report.gap_error:.4f})\n{sizes}"
    )
    return Table(title, ["", *report.columns], rows)


def _closing(report: EnsembleReport) -> str:
    from yt8m_ensemble.tuning import describe_overlap

    notes = [f"{row.name}: {row.note}" for row in report.rows if row.note]
    gains = [
        f"packaged over {rival}: {gain:+.5f}, paired 95 % interval [{low:+.5f}, {high:+.5f}]"
        for rival, (gain, low, high) in report.gains.items()
    ]
    overlap = [describe_overlap(report.num_trained_on)] if report.num_trained_on else []
    return "\n".join([*notes, *gains, *overlap, f"verified: {report.bundle}", ""])
