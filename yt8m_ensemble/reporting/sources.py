"""The files of a run that a report reads, whichever of them are there. Opens none but records."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.errors import RecipeError
from yt8m_ensemble.provenance import provenance_path
from yt8m_ensemble.reporting.stored import (
    RUN_FILE,
    RunRecord,
    StepRecord,
    read_record,
    record_path,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PARTS = ("train", "predictions", "weights.json", "merged")


@dataclass(frozen=True)
class Sources:
    """Files of one ensemble; `None` or empty where there are none.

    Args:
        name: The ensemble.
        scores: Prediction caches of the members as they are merged, in float32.
        last: Prediction cache of the members' last checkpoints.
        stored: Prediction cache of the members as the bundle stores them.
        weights: Mixture weights.
        model: Directory of the inference model.
        bundle: The archive.
        train_dirs: Train directory by member.
        averages: Averaged checkpoint by member.
        steps: Records of the ensemble's steps, by name without the ensemble's.
        run: The run that it is of.
    """

    name: str
    scores: tuple[str, ...] = ()
    last: str | None = None
    stored: str | None = None
    weights: str | None = None
    model: str | None = None
    bundle: str | None = None
    train_dirs: Mapping[str, str] = field(default_factory=dict)
    averages: Mapping[str, str] = field(default_factory=dict)
    steps: Mapping[str, StepRecord] = field(default_factory=dict)
    run: RunRecord | None = None


def find_sources(out: str) -> tuple[Sources, ...]:
    """Find the files of the ensembles of a run, also of one that was interrupted.

    Args:
        out: The recipe's `out` directory.

    Returns:
        The ensembles in the recipe's order, or by name if the run left no record of itself.

    Raises:
        RecipeError: If there is no ensemble.
    """
    out = out.rstrip("/")
    run = read_record(record_path(out, RUN_FILE), RunRecord, default=RunRecord())
    names = run.ensembles or sorted(
        name
        for name in files.list_dir(out)
        if any(files.exists(f"{out}/{name}/{part}") for part in _PARTS)
    )
    if not names:
        msg = (
            f"'{out}' holds no ensemble of a recipe. Give the directory that the recipe calls "
            "`out`, or loose files with `--predictions`, `--weights`, `--bundle` and `--train-dir`."
        )
        raise RecipeError(msg, path=out)
    return tuple(_ensemble(out, name, run) for name in names)


def _ensemble(out: str, name: str, run: RunRecord) -> Sources:
    directory = f"{out}/{name}"
    averages = {
        Path(path).name.removesuffix(".index"): f"{directory}/average/{path[: -len('.index')]}"
        for path in files.list_dir(f"{directory}/average")
        if path.endswith(".index")
    }
    scores = _present(f"{directory}/predictions/averaged.h5")
    return Sources(
        name=name,
        scores=(scores,) if scores else (),
        last=_present(f"{directory}/predictions/last.h5"),
        stored=_present(f"{directory}/predictions/merged.h5"),
        weights=_present(f"{directory}/weights.json"),
        model=_present(f"{directory}/merged"),
        bundle=_present(f"{directory}/{name}.tgz"),
        train_dirs={m: f"{directory}/train/{m}" for m in files.list_dir(f"{directory}/train")},
        averages=averages,
        steps=_steps(out, name),
        run=run,
    )


def _steps(out: str, name: str) -> dict[str, StepRecord]:
    """Return the records of an ensemble's steps."""
    found = {}
    for file in files.list_dir(f"{out}/.steps"):
        if file.startswith(f"{name}.") and file.endswith(".json"):
            step = file.removeprefix(f"{name}.").removesuffix(".json")
            # A member's name may hold points; the command's does not.
            command, _, member = step.partition(".")
            key = f"{command}/{member}" if member else command
            found[key] = read_record(f"{out}/.steps/{file}", StepRecord, default=StepRecord())
    return found


def loose_sources(
    *,
    predictions: Sequence[str],
    stored: str | None,
    weights: str | None,
    bundle: str | None,
    train_dirs: Mapping[str, str],
) -> Sources:
    """Return files that no recipe has made as one ensemble.

    Args:
        predictions: Prediction caches of the members.
        stored: Prediction cache of the bundle.
        weights: Mixture weights.
        bundle: The archive.
        train_dirs: Train directory by member.

    Returns:
        The ensemble, called after its archive, weights or first cache.
    """
    named = [path for path in (bundle, weights, *predictions, *train_dirs.values()) if path]
    return Sources(
        name=Path(named[0]).name.partition(".")[0] if named else "files",
        scores=tuple(predictions),
        stored=stored,
        weights=weights,
        bundle=bundle,
        train_dirs=train_dirs,
    )


def provenance_files(sources: Sources) -> list[str]:
    """Return the provenance files of an ensemble's artifacts."""
    made = [sources.model, sources.bundle, *sources.averages.values()]
    paths = [provenance_path(path) for path in made if path]
    return [path for path in paths if files.exists(path)]


def _present(path: str) -> str | None:
    return path if files.exists(path) else None
