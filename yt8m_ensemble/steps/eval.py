"""`eval`: the challenge's metrics of one model over records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.data import read_batches
from yt8m_ensemble.facts import TOP_K
from yt8m_ensemble.inference import GraphRunner, Report, evaluate
from yt8m_ensemble.steps.open_model import OpenModel, open_model
from yt8m_ensemble.values import Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from yt8m_ensemble.data import Batch


@dataclass(frozen=True)
class Evaluation:
    """Hold the evaluation of one model.

    Args:
        path: The model.
        architecture: What it is.
        digest: Of its checkpoint.
        report: Metrics and loss.
    """

    path: str
    architecture: str
    digest: str
    report: Report


def evaluate_model(
    *,
    model: str,
    data: str,
    batch_size: int = 1024,
    top_k: int = TOP_K,
    num_classes: int | None = None,
    architecture: str | None = None,
    progress: Progress = no_progress,
) -> Evaluation:
    """Score records and compare with their labels.

    Args:
        model: Any path to a model (see `steps.open_model`).
        data: Globs of records, comma-separated.
        batch_size: Videos a batch.
        top_k: Pairs a video that GAP keeps.
        num_classes: Where the model's files do not tell.
        architecture: Overrides what the model's files say.
        progress: Told the videos scored.

    Returns:
        The metrics.
    """
    paths = files.expand_globs(data, option="--data")
    with (
        open_model(model, architecture=architecture, num_classes=num_classes) as opened,
        GraphRunner(opened.graph, opened.source) as runner,
    ):
        report = evaluate(
            scored_batches(runner, opened, paths, batch_size=batch_size, progress=progress),
            num_classes=opened.num_classes,
            top_k=top_k,
        )
        return Evaluation(model, opened.architecture, opened.digest, report)


def scored_batches(
    runner: GraphRunner,
    model: OpenModel,
    paths: list[str],
    *,
    batch_size: int,
    progress: Progress = no_progress,
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Score records batch by batch.

    Yields:
        Scores and labels, each `(B, C)`.
    """
    done = 0
    batches: Iterator[Batch] = read_batches(
        paths, features=model.features, num_classes=model.num_classes, batch_size=batch_size
    )
    for batch in batches:
        yield runner.predict(batch.features, batch.num_frames), batch.labels
        done += len(batch.labels)
        progress(f"eval {model.name}", done, None, unit="videos")
