"""The validation GAP of each checkpoint of a run, and when it has stopped rising."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.data import read_batches
from yt8m_ensemble.metrics import EvaluationMetrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yt8m_ensemble.training.trainer import Trainer
    from yt8m_ensemble.values import ModelFlags

BATCH_SIZE = 256
HISTORY_FILE = "validation.json"


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
        history = {**self.history(before=trainer.step), trainer.step: gap}
        if self._writes:
            files.write_text(self._path, json.dumps(history, indent=2), force=True)
        return gap

    def history(self, *, before: int) -> dict[int, float]:
        """Return the GAP of the steps before one, in their order."""
        if not files.exists(self._path):
            return {}
        found = {int(step): gap for step, gap in json.loads(files.read_text(self._path)).items()}
        return {step: found[step] for step in sorted(found) if step < before}


def has_stalled(history: Mapping[int, float], *, patience: int) -> bool:
    """Return whether the best of the last scores is no better than the best before them.

    Args:
        history: Scores by step, in order.
        patience: How many last scores; 0 never stalls.

    Examples:
        >>> has_stalled({10: 0.5, 20: 0.6, 30: 0.6, 40: 0.55}, patience=2)
        True
        >>> has_stalled({10: 0.5, 20: 0.6, 30: 0.6, 40: 0.61}, patience=2)
        False
    """
    scores = list(history.values())
    if not patience or len(scores) <= patience:
        return False
    return max(scores[-patience:]) <= max(scores[:-patience])
