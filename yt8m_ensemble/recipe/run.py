"""Execute a recipe: each step that is not done yet, in order, stoppable and resumable anywhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from yt8m_ensemble import __version__, files
from yt8m_ensemble.errors import OutputExistsError, RecipeError
from yt8m_ensemble.recipe.plan import Call, Layout, Step, plan_steps
from yt8m_ensemble.recipe.report import EnsembleReport, report_ensemble
from yt8m_ensemble.recipe.run_state import RunState
from yt8m_ensemble.reporting.stored import RunRecord, StepResult, record_path
from yt8m_ensemble.steps.report import make_report
from yt8m_ensemble.values import Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from yt8m_ensemble.recipe.document import Recipe

_REPORT = "_report"  # what the state calls it, beside the steps
Status = Literal["done before", "ran", "would run"]


@dataclass(frozen=True)
class StepOutcome:
    """Outcome of one step.

    Args:
        name: The step.
        status: Whether it ran.
        elapsed_s: Seconds it took; 0 if it did not run.
        reason: Why it ran, or did not.
        number: Its place among the steps, from 1.
        num_steps: How many there are.
    """

    name: str
    status: Status
    elapsed_s: float
    reason: str = ""
    number: int = 0
    num_steps: int = 0


@dataclass(frozen=True)
class RecipeResult:
    """Result of `run_recipe`.

    Args:
        recipe: The recipe's path.
        out: Where its artefacts are.
        steps: What became of each step.
        reports: What each ensemble achieved; empty on a dry run.
        page: The report of the whole run, as `yt8m-ens report` writes it; not on a dry run.
    """

    recipe: str
    out: str
    steps: tuple[StepOutcome, ...]
    reports: tuple[EnsembleReport, ...]
    page: str


def run_recipe(
    recipe: Recipe,
    *,
    from_step: str | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
    on_step: Callable[[StepOutcome], None] = lambda _: None,
) -> RecipeResult:
    """Execute the steps of a recipe whose inputs or options have changed.

    A step that was interrupted is resumed. One that ran with other options or inputs is refused,
    since its outputs would be lost, unless `force` is set; what depends on it then runs again too.

    Args:
        recipe: What `load_recipe` read.
        from_step: Run this step and all after it again, though nothing has changed; needs `force`.
        force: Replace outputs of steps that have changed.
        dry_run: Say which steps would run; run none.
        progress: Called as the running step advances.
        on_step: Called with the outcome of each step.

    Returns:
        What was done, and the scores of the ensembles.

    Raises:
        RecipeError: If `from_step` is no step of the recipe.
        OutputExistsError: If a step has changed and `force` is not set.
    """
    steps = list(plan_steps(recipe))
    names = [step.name for step in steps]
    if from_step is not None and from_step not in names:
        msg = f"'{from_step}' is no step of '{recipe.path}'. Its steps: {', '.join(names)}."
        raise RecipeError(msg, step=from_step, steps=names)
    start = names.index(from_step) if from_step is not None else len(names)
    state = RunState(recipe.out)
    if not dry_run:
        state.note_run(
            RunRecord(
                recipe=recipe.path,
                text=recipe.text,
                overrides=dict(recipe.overrides),
                ensembles=tuple(table.name for table in recipe.ensembles),
                version=__version__,
            )
        )
    outcomes: list[StepOutcome] = []
    pending = False
    for number, step in enumerate(steps, 1):
        if dry_run and pending:
            # What this step reads is not there yet, so its key cannot be known.
            outcome = StepOutcome(step.name, "would run", 0.0, "its inputs are made first")
        else:
            outcome = _run_step(
                step,
                state,
                again=number > start,
                force=force,
                dry_run=dry_run,
                progress=_within(progress, f"[{number}/{len(steps)}] {step.name}"),
            )
        outcome = replace(outcome, number=number, num_steps=len(steps))
        pending = pending or outcome.status == "would run"
        outcomes.append(outcome)
        on_step(outcome)
    reports: tuple[EnsembleReport, ...] = ()
    out = recipe.out.rstrip("/")
    page = f"{out}/report.html"
    if not dry_run:
        progress("compute the results", 0, None)
        reports = tuple(
            report_ensemble(table, Layout(f"{out}/{table.name}", table.name))
            for table in recipe.ensembles
        )
        # Not by what ran just now: a run that was killed may have ended a step, and not the report.
        key = state.key({}, [record_path(out, outcome.name) for outcome in outcomes])
        if not (state.is_started(_REPORT, key) and files.exists(page)):
            made = make_report(runs=[out], out=page, force=True, progress=progress)
            state.finish(_REPORT, key, [made.page], elapsed_s=0.0, result=StepResult())
    return RecipeResult(recipe.path, recipe.out, tuple(outcomes), reports, page)


def _within(progress: Progress, step: str) -> Progress:
    """Return a progress that names the step before each of its tasks."""

    def report(
        task: str, done: float, total: float | None, *, unit: str = "", note: str = ""
    ) -> None:
        progress(f"{step}: {task}", done, total, unit=unit, note=note)

    return report


def _run_step(
    step: Step, state: RunState, *, again: bool, force: bool, dry_run: bool, progress: Progress
) -> StepOutcome:
    """Run one step if it must.

    Returns:
        What became of it.

    Raises:
        OutputExistsError: If it has run with other options or inputs and `force` is not set.
    """
    progress("check", 0, None)
    key = state.key(step.options, step.inputs())
    if not again and state.is_done(step.name, key):
        return StepOutcome(step.name, "done before", 0.0, "inputs and options unchanged")
    resume = not again and state.is_started(step.name, key)
    has_run = state.has_run(step.name)
    reason = (
        "asked for with `--from`" if again
        else "unfinished, or outputs changed" if resume
        else "options or inputs changed" if has_run
        else ""
    )  # fmt: skip
    if dry_run:
        return StepOutcome(step.name, "would run", 0.0, reason)
    if has_run and not resume and not force:
        msg = (
            f"Step '{step.name}' ran before with other options or inputs; running it again "
            "replaces what it wrote. Pass `--force`, or another `--set out=DIR`."
        )
        raise OutputExistsError(msg, step=step.name)
    state.start(step.name, key)
    started = time.monotonic()
    # What a step of the same key left behind is its own and may be replaced.
    result = step.run(Call(force=force or resume, resume=resume, progress=progress))
    elapsed = time.monotonic() - started
    state.finish(step.name, key, step.outputs(), elapsed_s=elapsed, result=step.summarize(result))
    return StepOutcome(step.name, "ran", elapsed, reason)
