"""`eval`: the challenge's metrics of models and their checkpoints over records."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import TfCheckpoint, open_checkpoint
from yt8m_ensemble.data import BatchReader, sample_shards
from yt8m_ensemble.facts import TOP_K
from yt8m_ensemble.inference import GraphRunner, condense_batches, score_ahead
from yt8m_ensemble.metrics import Report, evaluate
from yt8m_ensemble.steps.eval_targets import Target, Watch, find_targets
from yt8m_ensemble.steps.find_checkpoints import index_digest, step_of
from yt8m_ensemble.steps.member_scorer import scoring_reader, start_runner, unmapped
from yt8m_ensemble.steps.open_model import OpenModel, open_model
from yt8m_ensemble.training import ScalarWriter
from yt8m_ensemble.values import Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from yt8m_ensemble.data import Batch
    from yt8m_ensemble.values import TensorSource


@dataclass(frozen=True)
class Evaluation:
    """Hold the evaluation of one model.

    Args:
        path: The model.
        architecture: What it is.
        digest: Of its checkpoint.
        report: Metrics and loss.
        global_step: Of its checkpoint; `None` if that holds none.
    """

    path: str
    architecture: str
    digest: str
    report: Report
    global_step: int | None = None


@dataclass(frozen=True)
class Evaluations:
    """Hold what one run of `eval` found.

    Args:
        evaluations: In the order in which they were made.
        best: Path of the one with the highest GAP; `None` if there is none.
        record_files: The files scored.
    """

    evaluations: tuple[Evaluation, ...]
    best: str | None
    record_files: tuple[str, ...]


def evaluate_model(
    *,
    model: str,
    data: str,
    batch_size: int | None = None,
    top_k: int = TOP_K,
    num_classes: int | None = None,
    architecture: str | None = None,
    progress: Progress = no_progress,
) -> Evaluation:
    """Return the evaluation of one model; see `evaluate_models`."""
    found = evaluate_models(
        models=[model],
        data=data,
        batch_size=batch_size,
        top_k=top_k,
        num_classes=num_classes,
        architecture=architecture,
        progress=progress,
    )
    return found.evaluations[0]


def evaluate_models(
    *,
    models: Sequence[str],
    data: str,
    checkpoints: Sequence[str] | None = None,
    all_checkpoints: bool = False,
    watch: Watch | None = None,
    sample: int | None = None,
    seed: int = 0,
    tensorboard: str | None = None,
    batch_size: int | None = None,
    top_k: int = TOP_K,
    num_classes: int | None = None,
    architecture: str | None = None,
    progress: Progress = no_progress,
    on_evaluation: Callable[[Evaluation], None] | None = None,
) -> Evaluations:
    """Score records with models and compare with their labels.

    The checkpoints of one train directory share one graph and one reader of the records: only the
    weights are exchanged.

    Args:
        models: Any paths to models (see `steps.open_model`).
        data: Globs of records, comma-separated.
        checkpoints: Steps of the one train directory in `models` to evaluate.
        all_checkpoints: Evaluate every checkpoint of the train directories in `models`.
        watch: Go on with the checkpoints that appear in the train directories in `models`.
        sample: Read only so many record files, the same for every model.
        seed: Seed of that sample.
        tensorboard: Directory for scalars under the starter code's names, by global step; a folder
            a model in it if there are several.
        batch_size: Videos a batch; `None` for as many as take 32 MiB, at most 256.
        top_k: Pairs a video that GAP keeps.
        num_classes: Where a model's files do not tell.
        architecture: Overrides what the models' files say.
        progress: Told the videos scored.
        on_evaluation: Told each evaluation as soon as it is made.

    Returns:
        The metrics, and which model is best.

    Raises:
        UsageError: If options contradict each other, or need a train directory and get none.
        CheckpointNotFoundError: If a step is not there.
    """
    paths = files.expand_globs(data, option="--data")
    if sample is not None:
        paths = sample_shards(paths, sample, seed=seed)
    targets = find_targets(
        models, checkpoints=checkpoints, all_checkpoints=all_checkpoints, watch=watch
    )
    found: list[Evaluation] = []
    with (
        _Evaluator(
            paths,
            batch_size=batch_size,
            top_k=top_k,
            num_classes=num_classes,
            architecture=architecture,
            progress=progress,
        ) as evaluator,
        _Scalars(tensorboard, models) as scalars,
    ):
        for target in targets:
            evaluation = evaluator.evaluate(target)
            found.append(evaluation)
            scalars.write(target, evaluation)
            if on_evaluation is not None:
                on_evaluation(evaluation)
    best = max(found, key=lambda evaluation: evaluation.report.metrics.gap, default=None)
    return Evaluations(tuple(found), best.path if best else None, tuple(paths))


def scored_batches(
    runner: GraphRunner,
    model: OpenModel,
    paths: Sequence[str],
    *,
    batch_size: int | None,
    progress: Progress = no_progress,
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Score records batch by batch.

    Yields:
        Scores and labels, each `(B, C)`.
    """
    reader = scoring_reader(paths, model, [runner], batch_size=batch_size)
    yield from _scored(runner, reader, task=f"eval {model.name}", progress=progress)


def _scored(
    runner: GraphRunner, reader: Iterable[Batch], *, task: str, progress: Progress
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    done = 0
    batches = condense_batches(reader, [runner])
    for videos, scores in score_ahead(batches, lambda videos: runner.mixed(videos.condensed[0])):
        yield scores, videos.labels
        done += len(videos.labels)
        progress(task, done, None, unit="videos")


class _Evaluator:
    """Evaluate one target after the other; keep graph and reader as long as they fit."""

    def __init__(
        self,
        paths: Sequence[str],
        *,
        batch_size: int | None,
        top_k: int,
        num_classes: int | None,
        architecture: str | None,
        progress: Progress,
    ) -> None:
        self._paths, self._batch_size, self._top_k = paths, batch_size, top_k
        self._opening = {"num_classes": num_classes, "architecture": architecture}
        self._progress = progress
        self._readers: dict[Any, BatchReader] = {}
        self._stack = ExitStack()  # holds the current model and its runner
        self._current: tuple[str, OpenModel, GraphRunner] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def evaluate(self, target: Target) -> Evaluation:
        """Return the evaluation of one target."""
        if target.prefix is not None and self._current and self._current[0] == target.model:
            _, model, runner = self._current
            with open_checkpoint(target.prefix) as source:
                runner.load(unmapped(source))
                step = _step(source)
            digest = index_digest(target.prefix)
        else:
            model, runner = self._open(target)
            step, digest = _step(model.source), model.digest
        key = model.features, model.num_classes, runner.takes_bytes
        if key not in self._readers:
            self._readers[key] = scoring_reader(
                self._paths, model, [runner], batch_size=self._batch_size
            )
        task = f"eval {target.path}"
        report = evaluate(
            _scored(runner, self._readers[key], task=task, progress=self._progress),
            num_classes=model.num_classes,
            top_k=self._top_k,
        )
        return Evaluation(target.path, model.architecture, digest, report, step)

    def _open(self, target: Target) -> tuple[OpenModel, GraphRunner]:
        self._stack.close()
        self._current = None
        model = self._stack.enter_context(open_model(target.path, **self._opening))  # type: ignore[arg-type]
        runner = self._stack.enter_context(start_runner(model))
        self._current = target.model, model, runner
        return model, runner


class _Scalars:
    """Write evaluations for TensorBoard, or nothing if there is no directory."""

    def __init__(self, directory: str | None, models: Sequence[str]) -> None:
        self._directory, self._models = directory, models
        self._writers: dict[str, ScalarWriter] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def write(self, target: Target, evaluation: Evaluation) -> None:
        """Write one evaluation under the names of the starter code's `AddEpochSummary`."""
        if self._directory is None:
            return
        if target.model not in self._writers:
            place = f"/{target.name}" if len(self._models) > 1 else ""
            writer = ScalarWriter(f"{self._directory.rstrip('/')}{place}")
            self._writers[target.model] = self._stack.enter_context(writer)
        metrics = evaluation.report.metrics
        self._writers[target.model].write(
            evaluation.global_step or 0,
            {
                "Epoch/Eval_Avg_Hit@1": metrics.hit_at_one,
                "Epoch/Eval_Avg_Perr": metrics.perr,
                "Epoch/Eval_Avg_Loss": evaluation.report.loss,
                "Epoch/Eval_MAP": metrics.mean_average_precision,
                "Epoch/Eval_GAP": metrics.gap,
            },
        )


def _step(source: TensorSource) -> int | None:
    step = step_of(source) if isinstance(source, TfCheckpoint) else -1
    return step if step >= 0 else None
