"""`eval`: the challenge's metrics of models and their checkpoints over records."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from yt8m_ensemble import files
from yt8m_ensemble.constants import TOP_K
from yt8m_ensemble.data import sample_shards
from yt8m_ensemble.scoring.evaluation import Evaluation, Evaluator
from yt8m_ensemble.scoring.targets import Target, Watch, find_targets
from yt8m_ensemble.training import ScalarWriter
from yt8m_ensemble.values import Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


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
        models: Any paths to models (see `loading.model`).
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
        Evaluator(
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
