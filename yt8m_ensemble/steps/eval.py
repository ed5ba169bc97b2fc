"""`eval`: the challenge's metrics of models and their checkpoints over records."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from yt8m_ensemble import files
from yt8m_ensemble.data import sample_shards
from yt8m_ensemble.options import EvalModelOptions, EvalOptions, command, fields_of
from yt8m_ensemble.scoring.evaluation import Evaluation, Evaluator
from yt8m_ensemble.scoring.targets import Target, Watch, find_targets
from yt8m_ensemble.training import ScalarWriter

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Evaluations:
    """Result of `evaluate_models`.

    Args:
        evaluations: In the order in which they were made.
        best: Path of the one with the highest GAP; `None` if there is none.
        record_files: The files scored.
    """

    evaluations: tuple[Evaluation, ...]
    best: str | None
    record_files: tuple[str, ...]


@command(EvalModelOptions)
def evaluate_model(options: EvalModelOptions) -> Evaluation:
    """Evaluate one model over records; see `evaluate_models`.

    Returns:
        Its metrics.
    """
    values = {name: getattr(options, name) for name in fields_of(EvalModelOptions)}
    model = values.pop("model")
    many = EvalOptions(models=[model], progress=options.progress, **values)
    return evaluate_models.run(many).evaluations[0]


@command(EvalOptions)
def evaluate_models(options: EvalOptions) -> Evaluations:
    """Score records with models and compare with their labels.

    The checkpoints of one train directory share one graph and one reader of the records: only the
    weights are exchanged.

    Returns:
        The metrics, and which model is best.

    Raises:
        UsageError: If options contradict each other, or need a train directory and get none.
        CheckpointNotFoundError: If a step is not there.
    """
    paths = files.expand_globs(options.data, option="--data")
    if options.sample is not None:
        paths = sample_shards(paths, options.sample, seed=options.seed)
    targets = find_targets(
        options.models,
        checkpoints=[*map(str, options.checkpoints)] if options.checkpoints else None,
        all_checkpoints=options.all_checkpoints,
        watch=Watch(options.poll_interval, options.stop_after_idle) if options.watch else None,
    )
    found: list[Evaluation] = []
    with (
        Evaluator(paths, options) as evaluator,
        _Scalars(options.tensorboard, options.models) as scalars,
    ):
        for target in targets:
            evaluation = evaluator.evaluate(target)
            found.append(evaluation)
            scalars.write(target, evaluation)
            if options.on_evaluation is not None:
                options.on_evaluation(evaluation)
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
