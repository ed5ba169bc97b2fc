"""The validation GAP of each checkpoint of a run, and when it has stopped rising."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.data import read_batches
from yt8m_ensemble.decoding import decode_json
from yt8m_ensemble.errors import DataError
from yt8m_ensemble.metrics import EvaluationMetrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yt8m_ensemble.training.trainer import Trainer
    from yt8m_ensemble.values import ModelFlags

BATCH_SIZE = 256
HISTORY_FILE = "validation.json"


def read_history(path: str) -> dict[int, float]:
    """Read the GAP of the checkpoints of a run, by step.

    Args:
        path: A file that `Validation` wrote.

    Returns:
        GAP by step.

    Raises:
        DataError: If it is damaged.
    """
    advice = "Remove the file: training then knows no earlier scores."
    return decode_json(
        files.read_bytes(path), dict[int, float], path=path, error=DataError, advice=advice
    )


class Validation:
    """Score a trainer's weights on labelled records and remember the scores in a file.

    The file makes a resumed run stop where an unbroken one would.

    Args:
        train_dir: Where `validation.json`, GAP by step, lies.
        paths: Record files.
        flags: The model.
        writes: Whether this process writes the file.
    """

    def __init__(
        self, train_dir: str, paths: Sequence[str], flags: ModelFlags, *, writes: bool
    ) -> None:
        self._path = f"{train_dir.rstrip('/')}/{HISTORY_FILE}"
        self._paths = paths
        self._flags = flags
        self._writes = writes
        self._scores: dict[int, float] = {}
        if files.exists(self._path):
            self._scores = read_history(self._path)

    def score(self, trainer: Trainer) -> float:
        """Return the GAP of the current weights, and note it under the current step."""
        metrics = EvaluationMetrics(self._flags.num_classes)
        batches = read_batches(
            self._paths,
            features=self._flags.features,
            num_classes=self._flags.num_classes,
            batch_size=BATCH_SIZE,
        )
        for batch in batches:
            metrics.update(trainer.scores(batch.features, batch.num_frames), batch.labels)
        gap = metrics.result().gap
        self._scores[trainer.step] = gap
        if self._writes:
            text = json.dumps(self._scores, indent=2, sort_keys=True)
            files.write_text(self._path, text, force=True)
        return gap

    def scores(self, *, up_to: int) -> list[float]:
        """Return the GAP of every step scored so far, in their order, up to one step."""
        return [self._scores[step] for step in sorted(self._scores) if step <= up_to]


def has_stalled(scores: Sequence[float], *, patience: int) -> bool:
    """Return whether the best of the last scores is no better than the best before them.

    Args:
        scores: First to last.
        patience: How many last scores; 0 never stalls.

    Examples:
        >>> has_stalled([0.5, 0.6, 0.6, 0.55], patience=2)
        True
        >>> has_stalled([0.5, 0.6, 0.6, 0.61], patience=2)
        False
    """
    if not patience or len(scores) <= patience:
        return False
    return max(scores[-patience:]) <= max(scores[:-patience])
