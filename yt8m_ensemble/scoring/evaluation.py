"""Evaluate models over records: one reader and one graph for the checkpoints of a directory."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.errors import DataError
from yt8m_ensemble.inference import GraphRunner, pool_batches, score_ahead
from yt8m_ensemble.loading.checkpoints import index_digest, saved_step
from yt8m_ensemble.loading.joint_features import describe_means, share_features
from yt8m_ensemble.loading.model import OpenModel, open_with
from yt8m_ensemble.metrics import Report, evaluate
from yt8m_ensemble.scoring.members import finite_mixed, scoring_reader, start_runner, unmapped
from yt8m_ensemble.values import Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from yt8m_ensemble.data import BatchReader
    from yt8m_ensemble.options import EvalOptions
    from yt8m_ensemble.scoring.targets import Target


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one model.

    Args:
        path: The model.
        architecture: What it is.
        digest: Of its checkpoint.
        report: Metrics and loss.
        global_step: Of its checkpoint; `None` if that holds none.
        depends_on_chance: Whether its scores vary from run to run.
        file: What was opened: of a train directory, its newest checkpoint's prefix.
        warnings: What the records hold that may not be expected.
    """

    path: str
    architecture: str
    digest: str
    report: Report
    global_step: int | None = None
    depends_on_chance: bool = False
    file: str = ""
    warnings: tuple[str, ...] = ()


def check_labeled(num_labels: int, num_videos: int, where: str) -> None:
    """Refuse to judge scores by videos without labels.

    Args:
        num_labels: Labels read.
        num_videos: Videos read.
        where: The records, for the message.

    Raises:
        DataError: If there is no label.
    """
    if not num_labels:
        msg = (
            f"None of the {num_videos:,} videos of '{where}' has a label (the test split carries "
            "none), so no score can be judged. Give labeled records; `yt8m-ens predict` scores "
            "others."
        )
        raise DataError(msg, path=where, num_videos=num_videos)


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
    names = model.members
    yield from _scored(runner, reader, names, task=f"eval {model.name}", progress=progress)


def _scored(
    runner: GraphRunner,
    reader: BatchReader,
    members: Sequence[str],
    *,
    task: str,
    progress: Progress,
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    done = 0
    batches = pool_batches(reader, [runner])
    for videos, scores in score_ahead(
        batches, lambda videos: finite_mixed(runner, videos, members)
    ):
        yield scores, videos.labels
        done += len(videos.labels)
        progress(task, done, reader.estimated_videos, unit="videos")


class Evaluator:
    """Evaluates one target after the other; keeps graph and reader as long as they fit.

    Args:
        paths: Record files.
        options: How models are opened and scored.
    """

    def __init__(self, paths: Sequence[str], options: EvalOptions) -> None:
        self._paths, self._options = paths, options
        self._readers: dict[Any, BatchReader] = {}
        self._stack = ExitStack()  # holds the current model and its runner
        self._notes: tuple[str, ...] = ()  # on the current model
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
                step = saved_step(source)
            digest, file = index_digest(target.prefix), target.prefix
        else:
            model, runner = self._open(target)
            step, digest, file = model.global_step, model.digest, model.file
        key = model.features, model.num_classes, runner.takes_bytes
        if key not in self._readers:
            self._readers[key] = scoring_reader(
                self._paths, model, [runner], batch_size=self._options.batch_size
            )
        task = f"eval {target.path}"
        report = evaluate(
            _scored(
                runner,
                self._readers[key],
                model.members,
                task=task,
                progress=self._options.progress,
            ),
            num_classes=model.num_classes,
            top_k=self._options.top_k,
        )
        census = self._readers[key].census
        check_labeled(census.num_labels, census.num_videos, self._options.data)
        return Evaluation(
            target.path,
            model.architecture,
            digest,
            report,
            step,
            model.depends_on_chance,
            file,
            (*self._notes, *census.warnings),
        )

    def _open(self, target: Target) -> tuple[OpenModel, GraphRunner]:
        self._stack.close()
        self._current = None
        given = self._stack.enter_context(open_with(target.path, self._options))
        (model,) = share_features([given], self._paths)
        self._notes = describe_means([given], [model])
        runner = self._stack.enter_context(start_runner(model))
        self._current = target.model, model, runner
        return model, runner
