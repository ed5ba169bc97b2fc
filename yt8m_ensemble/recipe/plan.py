"""Turn a recipe into its steps: what each reads, what it writes, and the call that does it.

Pure: names files, runs nothing.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import find_steps
from yt8m_ensemble.loading.formats import detect_format, identity_file
from yt8m_ensemble.loading.paths import find_prefix
from yt8m_ensemble.options import ModelOptions
from yt8m_ensemble.options.average import judging_options
from yt8m_ensemble.options.field import fields_of
from yt8m_ensemble.reporting.stored import StepResult, StoredCheck
from yt8m_ensemble.steps.avg_ckpt import average_checkpoints
from yt8m_ensemble.steps.eval import evaluate_models
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.package import package_model
from yt8m_ensemble.steps.predict import write_scores
from yt8m_ensemble.steps.synth import synthesize
from yt8m_ensemble.steps.train import split_settings, train_model
from yt8m_ensemble.steps.tune_weights import tune_weights
from yt8m_ensemble.steps.verify import verify_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from yt8m_ensemble.recipe.document import EnsembleTable, Recipe
    from yt8m_ensemble.values import Progress


_CURVE_SHARDS = 2
"""Record files that checkpoints are compared on: enough for a curve, not to choose by."""


@dataclass(frozen=True)
class Call:
    """How a step is to be executed.

    Args:
        force: Replace outputs.
        resume: Go on where an interrupted run of the same options stopped.
        progress: Called as the step advances.
    """

    force: bool
    resume: bool
    progress: Progress


@dataclass(frozen=True)
class Step:
    """One step of a recipe.

    Args:
        name: E.g. `video/train/moe2`.
        options: All that decides its result beside the content of its inputs.
        inputs: Lists the files that it reads; called once the steps before it are done.
        outputs: Lists the files that it has written.
        run: Executes it.
        summarize: Turns what `run` returned into what a report needs of it beside its files.
    """

    name: str
    options: Mapping[str, Any]
    inputs: Callable[[], list[str]]
    outputs: Callable[[], list[str]]
    run: Callable[[Call], Any]
    summarize: Callable[[Any], StepResult] = lambda _: StepResult()


@dataclass(frozen=True)
class Layout:
    """The files of one ensemble.

    Args:
        directory: Where they are.
        name: The ensemble's name.
    """

    directory: str
    name: str

    @property
    def last(self) -> str:
        """Scores of the members' last checkpoints."""
        return f"{self.directory}/predictions/last.h5"

    @property
    def averaged(self) -> str:
        """Scores of the members that are merged, in float32."""
        return f"{self.directory}/predictions/averaged.h5"

    @property
    def merged(self) -> str:
        """The inference model."""
        return f"{self.directory}/merged"

    @property
    def stored(self) -> str:
        """Scores of the members of the inference model, as stored."""
        return f"{self.directory}/predictions/merged.h5"

    @property
    def weights(self) -> str:
        """The mixture weights."""
        return f"{self.directory}/weights.json"

    @property
    def bundle(self) -> str:
        """The archive."""
        return f"{self.directory}/{self.name}.tgz"


def plan_steps(recipe: Recipe) -> Iterator[Step]:
    """Yield the steps of a recipe in the order they run.

    Yields:
        The steps.
    """
    out = recipe.out.rstrip("/")
    for name, options in recipe.synth.items():
        yield _synth(name, options, f"{out}/records/{name}")
    for table in recipe.ensembles:
        yield from _ensemble_steps(table, Layout(f"{out}/{table.name}", table.name))


def _ensemble_steps(table: EnsembleTable, layout: Layout) -> Iterator[Step]:
    last, merged = {}, {}
    for name, settings in table.members.items():
        last[name] = settings.get("path") or f"{layout.directory}/train/{name}"
        if "path" not in settings:
            yield _train(table, name, settings, last[name])
        merged[name] = last[name]
        # Only a checkpoint has others beside it.
        has_others = detect_format(last[name]) == "checkpoint"
        if table.average is not None and name not in table.unaveraged and has_others:
            merged[name] = f"{layout.directory}/average/{name}"
            yield _average(table, name, last[name], merged[name])
    if table.average is not None:
        yield _predict(table, f"{table.name}/predict-last", last, layout.last)
    yield _predict(table, f"{table.name}/predict", merged, layout.averaged)
    yield Step(
        f"{table.name}/tune-weights",
        table.tune,
        lambda: [layout.averaged],
        lambda: [layout.weights],
        lambda call: tune_weights(
            predictions=[layout.averaged],
            out=layout.weights,
            force=call.force,
            progress=call.progress,
            # No option of the step: other records train other members, whose scores are its input.
            **{**table.tune, "train_data": _trained_on(table)},
        ),
    )
    yield Step(
        f"{table.name}/merge",
        {**_opening(table), **table.merge},
        lambda: [layout.weights, *_checkpoints(merged)],
        lambda: _files_in(layout.merged),
        lambda call: merge_models(
            members=[f"{name}={path}" for name, path in merged.items()],
            weights=layout.weights,
            out=layout.merged,
            force=call.force,
            progress=call.progress,
            **{**_opening(table), **table.merge},
        ),
    )
    yield Step(
        f"{table.name}/package",
        table.package,
        lambda: _files_in(layout.merged),
        lambda: [layout.bundle],
        lambda call: package_model(
            model=layout.merged,
            out=layout.bundle,
            force=call.force,
            progress=call.progress,
            **table.package,
        ),
    )
    yield _predict(table, f"{table.name}/predict-bundle", {"": layout.bundle}, layout.stored)
    yield Step(
        f"{table.name}/verify",
        {},
        lambda: [layout.bundle, layout.stored],
        list,
        lambda call: verify_bundle(
            path=layout.bundle,
            data=table.validate_data,
            against=layout.stored,
            progress=call.progress,
        ),
        lambda proof: StepResult(
            checks=tuple(StoredCheck(c.name, c.is_ok, c.detail) for c in proof.checks)
        ),
    )


def _synth(name: str, options: Mapping[str, Any], directory: str) -> Step:
    return Step(
        f"synth/{name}",
        options,
        lambda: _globs(options.get("from_video_level")),
        lambda: _files_in(directory),
        lambda call: synthesize(**options, out=directory, force=call.force, progress=call.progress),
    )


def _train(table: EnsembleTable, name: str, settings: Mapping[str, Any], directory: str) -> Step:
    training, model_options = split_settings(settings)
    data = table.training_data[name]
    features = data.features

    def run(call: Call) -> StepResult:
        started = time.monotonic()
        train_model(
            model=settings["model"],
            train_data=data.pattern,
            train_dir=directory,
            features="frame" if features.frame_level else "video",
            feature_names=",".join(features.names),
            feature_sizes=",".join(map(str, features.sizes)),
            max_frames=features.max_frames,
            num_classes=table.num_classes,
            model_options=model_options,
            start_new_model=call.force and not call.resume,
            progress=call.progress,
            **training,
        )
        return _checkpoint_gaps(
            table, directory, seed=settings["seed"], started=started, progress=call.progress
        )

    return Step(
        f"{table.name}/train/{name}",
        {**settings, "num_classes": table.num_classes, "features": asdict(features)},
        lambda: _globs(data.pattern),
        lambda: _train_files(directory),
        run,
        lambda result: result,
    )


def _checkpoint_gaps(
    table: EnsembleTable, directory: str, *, seed: int, started: float, progress: Progress
) -> StepResult:
    """Return the GAP of every checkpoint of a member that was just trained, for the report."""
    train_s = time.monotonic() - started
    found = evaluate_models(
        models=[directory],
        data=table.validate_data,
        all_checkpoints=True,
        sample=_CURVE_SHARDS,
        seed=seed,
        batch_size=table.batch_size,
        progress=progress,
    ).evaluations
    gaps = {e.global_step: e.report.metrics.gap for e in found if e.global_step is not None}
    num_videos = found[0].report.metrics.num_videos if found else 0
    return StepResult(gaps=gaps, num_videos=num_videos, train_s=train_s)


def _average(table: EnsembleTable, name: str, source: str, target: str) -> Step:
    options = dict(table.average or {})
    if judging_options(options):
        # By tuning's own split: what judges the ensemble must not have chosen its members.
        options |= {"eval_data": table.validate_data, "seed": table.tune.get("seed", 0)}
        options["holdout"] = table.tune.get("holdout", 0.5)
    return Step(
        f"{table.name}/average/{name}",
        options,
        lambda: [*_train_files(source), *_globs(options.get("eval_data"))],
        lambda: _prefix_files(target),
        lambda call: average_checkpoints(
            prefix=source, out=target, force=call.force, progress=call.progress, **options
        ),
    )


def _predict(table: EnsembleTable, name: str, models: Mapping[str, str], cache: str) -> Step:
    return Step(
        name,
        {"models": models, "batch_size": table.batch_size, **_opening(table)},
        lambda: [*_checkpoints(models), *_globs(table.validate_data)],
        lambda: [cache],
        lambda call: write_scores(
            models=[f"{key}={path}" if key else path for key, path in models.items()],
            data=table.validate_data,
            cache=cache,
            batch_size=table.batch_size,
            force=call.force,
            progress=call.progress,
            **_opening(table),
        ),
    )


def _trained_on(table: EnsembleTable) -> str | None:
    """Return globs of all records that members were trained on, as far as they are known."""
    named = [data.pattern for data in table.training_data.values()]
    if "train_data" in table.tune:
        named.append(table.tune["train_data"])
    return ",".join(dict.fromkeys(named)) or None


def _opening(table: EnsembleTable) -> dict[str, Any]:
    """Return how members are opened whose files do not tell everything: as for the merge."""
    if not any("path" in settings for settings in table.members.values()):
        return {}
    own = {
        "feature_names": ",".join(table.features.names),
        "feature_sizes": ",".join(map(str, table.features.sizes)),
    }
    given = {key: value for key, value in table.merge.items() if key in fields_of(ModelOptions)}
    return own | given


def _globs(patterns: str | None) -> list[str]:
    return files.expand_globs(patterns, option="the recipe's data") if patterns else []


def _files_in(directory: str) -> list[str]:
    return [f"{directory}/{name}" for name in files.list_dir(directory)]


def _train_files(directory: str) -> list[str]:
    """Return a train directory's checkpoints and flags; event files change nothing."""
    names = [f"model.ckpt-{step}.index" for step in find_steps(directory)] + ["model_flags.json"]
    return [f"{directory}/{name}" for name in names]


def _checkpoints(models: Mapping[str, str]) -> list[str]:
    # An index holds a checksum of every tensor: it stands for the data beside it.
    return [
        path if path.endswith(".tgz") else identity_file(path) or f"{find_prefix(path)}.index"
        for path in models.values()
    ]


def _prefix_files(prefix: str) -> list[str]:
    return [str(path) for path in sorted(Path(prefix).parent.glob(f"{Path(prefix).name}.*"))]
