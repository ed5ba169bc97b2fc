"""`avg-ckpt`: the weighted mean of checkpoints of one run, as an ordinary checkpoint.

Whatever can be known is checked before the first byte of weights is read. The train directory's
`checkpoint` state file is never touched.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.averaging import (
    AveragePlan,
    MeanSource,
    ShadowSource,
    average_weights,
    check_one_run,
    chosen,
    find_optimizer_tensors,
    greedy_soup,
    mean_blocks,
    plan_average,
    search_last,
)
from yt8m_ensemble.checkpoints import (
    OBJECT_GRAPH,
    CheckpointWriter,
    prune_object_graph,
)
from yt8m_ensemble.checkpoints.weight_files import (
    check_weights_absent,
    weights_kind,
    write_weights,
)
from yt8m_ensemble.companions import PROVENANCE_ENDING
from yt8m_ensemble.errors import CheckpointError
from yt8m_ensemble.loading.checkpoints import (
    global_step_of,
    select_checkpoints,
    step_of,
    weights_digest,
)
from yt8m_ensemble.loading.paths import find_flags
from yt8m_ensemble.loading.weights import open_weights
from yt8m_ensemble.options import AverageOptions, command
from yt8m_ensemble.provenance import format_provenance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.averaging import Neighbors, Trial
    from yt8m_ensemble.scoring.average_choice import AverageChoice
    from yt8m_ensemble.scoring.checkpoints import CheckpointScorer
    from yt8m_ensemble.values import Progress, TensorSource, TensorSpec

_SPARE_BYTES = 1 << 20  # index, provenance, meta graph


@dataclass(frozen=True)
class Recalibration:
    """Effect of batch-norm statistics that were estimated anew.

    Args:
        before: GAP with the averaged statistics.
        after: GAP with the re-estimated ones.
        kept: Whether they are in the output.
    """

    before: float
    after: float
    kept: bool


@dataclass(frozen=True)
class AveragedCheckpoint:
    """Result of `average_checkpoints`.

    Args:
        prefix: The average, or where it would be written.
        global_step: That of the newest input; `None` if it holds none.
        inputs: Prefixes of the inputs, in the order of `weights`.
        weights: Weight of each input, sum 1.
        num_tensors: Tensors in the average.
        nbytes: Bytes of its numeric tensors.
        dropped: Names of the optimizer's tensors that were left out.
        neighbors: How near inputs that follow each other are.
        trials: What a soup or search tried.
        recalibration: What re-estimating batch norm did; `None` if it was not asked for.
        choice: How `last="auto"` chose; `None` otherwise.
        notes: How the records that it was chosen by differ from what the model was trained on.
    """

    prefix: str
    global_step: int | None
    inputs: tuple[str, ...]
    weights: tuple[float, ...]
    num_tensors: int
    nbytes: int
    dropped: tuple[str, ...]
    neighbors: tuple[Neighbors, ...] = ()
    trials: tuple[Trial, ...] = ()
    recalibration: Recalibration | None = None
    choice: AverageChoice | None = None
    notes: tuple[str, ...] = ()


@command(AverageOptions)
def average_checkpoints(options: AverageOptions) -> AveragedCheckpoint:
    """Average checkpoints, summed in float64 and stored in the inputs' dtypes.

    Returns:
        What was averaged.

    Raises:
        CheckpointNotFoundError: If a checkpoint is not there.
        CheckpointError: If an input is unfinished or damaged, comes twice, holds NaN, or is of
            another run than the others.
        TensorMismatchError: If names, shapes, dtypes or integers differ.
        OutputExistsError: If `out` exists and `force` is not set.
        UsageError: If the options do not say which checkpoints to take.
    """
    with ExitStack() as stack:
        result, by_step, sources, plan = _open(options, stack)
        if options.eval_data:
            from yt8m_ensemble.scoring.checkpoints import open_scorer

            scorer = stack.enter_context(
                open_scorer(
                    by_step[-1],
                    options.eval_data,
                    batch_size=options.batch_size,
                    progress=options.progress,
                    holdout=_holdout(options),
                    seed=options.seed,
                )
            )
            result = replace(result, notes=scorer.notes)
            if options.soup or options.search:
                ordered = {path: sources[path] for path in by_step}
                result = _choose(result, ordered, plan, scorer, search=options.search)
            if options.last == "auto":
                ordered = {path: sources[path] for path in by_step}
                result = _choose_auto(result, ordered, plan, scorer, options)
            if options.recalibrate_bn:
                plan, found = _recalibrate(result, sources, plan, scorer, options.recalibrate_bn)
                result = replace(result, recalibration=found)
        used = {path: sources[path] for path in result.inputs}
        # Before anything is written: the output may replace an input.
        digests = {path: weights_digest(path) for path in result.inputs}
        flags = find_flags(by_step[-1])
        provenance = format_provenance(
            command="avg-ckpt",
            inputs=digests,
            options=options,
            weights=result.weights,
            global_step=result.global_step,
            trials=[vars(trial) for trial in result.trials],
            choice=asdict(result.choice) if result.choice else None,
            recalibration=vars(result.recalibration) if result.recalibration else None,
            model_flags=flags,
        )
        if weights_kind(options.out) != "checkpoint":
            mean = MeanSource(used, plan, result.weights, allow_nonfinite=options.allow_nonfinite)
            companions = {PROVENANCE_ENDING: provenance}
            write_weights(options.out, mean, force=options.force, companions=companions)
            return result
        means = mean_blocks(
            used, plan.averaged, result.weights, allow_nonfinite=options.allow_nonfinite
        )
        with CheckpointWriter(options.out, force=options.force, own_graph=True) as writer:
            _write(writer, plan, means, progress=options.progress)
            # A meta graph whose saver would not find every variable in the average is none.
            if not (plan.dropped or options.use_ema) and files.exists(f"{by_step[-1]}.meta"):
                files.copy(f"{by_step[-1]}.meta", writer.companion(".meta"))
            companion = writer.companion(PROVENANCE_ENDING)
            Path(companion).write_text(provenance, encoding="utf-8")
        if options.search:
            from yt8m_ensemble.plotting import draw_search

            draw_search(result.trials, f"{options.out}.search.png")
        return result


@command(AverageOptions)
def plan_average_checkpoints(options: AverageOptions) -> AveragedCheckpoint:
    """Check what `average_checkpoints` would do; score and write nothing.

    Returns:
        What would be averaged; what soup, search and recalibration would choose is not known.
    """
    with ExitStack() as stack:
        return _open(options, stack)[0]


def _open(
    options: AverageOptions, stack: ExitStack
) -> tuple[AveragedCheckpoint, list[str], dict[str, TensorSource], AveragePlan]:
    """Return the average as planned, its inputs by step, opened, and the plan of its tensors."""
    if options.imports:
        from yt8m_ensemble.models.user_modules import import_files

        import_files(options.imports)
    prefixes = select_checkpoints(
        [options.prefix] if isinstance(options.prefix, str) else options.prefix,
        step_range=options.step_range,
        checkpoints=options.checkpoints,
        last=options.last,
    )
    check_weights_absent(options.out, force=options.force)
    shares = average_weights(options.weights, len(prefixes))
    opened = {path: stack.enter_context(open_weights(path))[0] for path in prefixes}
    by_step = sorted(prefixes, key=lambda path: step_of(path, opened[path]))
    sources = {path: _chosen_values(path, opened[path], options) for path in prefixes}
    plan = _without_dropped(
        plan_average(sources, newest=by_step[-1], keep_optimizer=options.keep_optimizer)
    )
    nbytes = sum(spec.nbytes for spec in plan.specs.values())
    _check_space(options.out, nbytes)
    find_flags(by_step[-1])  # refuses a damaged file before work begins
    result = AveragedCheckpoint(
        prefix=options.out,
        global_step=global_step_of(opened[by_step[-1]]),
        inputs=tuple(prefixes),
        weights=shares,
        num_tensors=len(plan.specs),
        nbytes=nbytes,
        dropped=plan.dropped,
    )
    if not options.allow_different_runs:
        # A sample of each tensor is compared, so its checksum cannot be.
        samples = {
            path: _chosen_values(
                path, stack.enter_context(open_weights(path, verify=False))[0], options
            )
            for path in by_step
        }
        slots = find_optimizer_tensors(plan.specs)  # moments forget; only weights tell
        weighed = [spec for spec in plan.averaged if spec.name not in slots]
        result = replace(result, neighbors=tuple(check_one_run(samples, weighed)))
    return result, by_step, sources, plan


def _chosen_values(path: str, source: TensorSource, options: AverageOptions) -> TensorSource:
    return ShadowSource(source, path=path) if options.use_ema else source


def _choose(
    result: AveragedCheckpoint,
    sources: Mapping[str, TensorSource],
    plan: AveragePlan,
    scorer: CheckpointScorer,
    *,
    search: bool,
) -> AveragedCheckpoint:
    """Return the result with the inputs that a soup or search chose, oldest first."""
    trials = (search_last if search else greedy_soup)(sources, plan, score=scorer)
    best = tuple(path for path in sources if path in chosen(trials))
    shares = average_weights("uniform", len(best))
    return replace(result, trials=tuple(trials), inputs=best, weights=shares)


def _holdout(options: AverageOptions) -> float:
    """Return the share of the videos that chooses nothing."""
    if options.holdout is None:
        return 0.5 if options.last == "auto" else 0.0
    return options.holdout


def _choose_auto(
    result: AveragedCheckpoint,
    sources: Mapping[str, TensorSource],
    plan: AveragePlan,
    scorer: CheckpointScorer,
    options: AverageOptions,
) -> AveragedCheckpoint:
    """Return the result with the average that `last="auto"` chooses."""
    from yt8m_ensemble.scoring.average_choice import choose_average

    tuned_on, held_out = scorer.split
    choice = choose_average(
        sources,
        plan,
        score=scorer.best_pairs,
        tuned_on=tuned_on,
        held_out=held_out,
        seed=options.seed,
        progress=options.progress,
    )
    best = choice.best
    return replace(result, choice=choice, inputs=best.inputs, weights=best.weights)


def _recalibrate(
    result: AveragedCheckpoint,
    sources: Mapping[str, TensorSource],
    plan: AveragePlan,
    scorer: CheckpointScorer,
    data: str,
) -> tuple[AveragePlan, Recalibration]:
    """Return the plan with re-estimated batch norm if that scores better, and both scores."""
    used = {path: sources[path] for path in result.inputs}
    mean = MeanSource(used, plan, result.weights)
    found = plan.override(scorer.estimate_batch_norm(mean, data))
    before, after = scorer(mean), scorer(MeanSource(used, found, result.weights))
    is_better = after > before
    return found if is_better else plan, Recalibration(before, after, is_better)


def _without_dropped(plan: AveragePlan) -> AveragePlan:
    """Return the plan with an object graph that does not speak of the tensors left out."""
    if not plan.dropped or OBJECT_GRAPH not in plan.copied:
        return plan
    graph = np.asarray(plan.copied[OBJECT_GRAPH])
    pruned = prune_object_graph(graph.item(), frozenset(plan.dropped))
    return plan.override({OBJECT_GRAPH: np.array(pruned, object)})


def _check_space(out: str, nbytes: int) -> None:
    """Refuse an output that its disk cannot hold.

    Raises:
        CheckpointError: If there are fewer bytes free.
    """
    if files.is_remote(out):
        return
    place = Path(out).resolve().parent
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < nbytes + _SPARE_BYTES:
        msg = (
            f"'{out}' needs {nbytes + _SPARE_BYTES:,} bytes, its disk has {free:,} free. "
            "Make room, or choose another `--out`."
        )
        raise CheckpointError(msg, out=out, found=free, expected=nbytes + _SPARE_BYTES)


def _write(
    writer: CheckpointWriter,
    plan: AveragePlan,
    means: Iterator[tuple[TensorSpec, Iterator[NDArray[Any]]]],
    *,
    progress: Progress,
) -> None:
    total = sum(spec.nbytes for spec in plan.averaged)
    done = 0

    def watched(blocks: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        nonlocal done
        for block in blocks:
            yield block
            done += block.nbytes
            progress("average", done / 1e6, total / 1e6, unit="MB")

    for name in plan.specs:  # sorted, as TensorFlow's Saver writes
        if name in plan.copied:
            writer.add(name, plan.copied[name])
        else:
            spec, blocks = next(means)
            writer.add_blocks(spec, watched(blocks))
