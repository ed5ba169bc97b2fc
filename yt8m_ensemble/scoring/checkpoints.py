"""Judge candidate averages by GAP over held-out records; re-estimate their batch norm."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.data import read_batches, read_video_ids
from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.inference import GraphRunner
from yt8m_ensemble.loading.joint_features import describe_means, share_features
from yt8m_ensemble.loading.model import open_model
from yt8m_ensemble.metrics import evaluate
from yt8m_ensemble.models import recognize
from yt8m_ensemble.scoring.evaluation import check_labeled, scored_batches
from yt8m_ensemble.training import estimate_batch_norm
from yt8m_ensemble.tuning import Scorer, split_videos
from yt8m_ensemble.tuning.candidates import BestPairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from yt8m_ensemble.loading.model import OpenModel
    from yt8m_ensemble.tuning import Candidates
    from yt8m_ensemble.values import Progress, TensorSource


class CheckpointScorer:
    """Score weights of one architecture: call it with a `TensorSource`, get GAP.

    Args:
        model: Any checkpoint of the architecture, open.
        data: Globs of held-out records.
        batch_size: Videos a batch.
        progress: Called with the number of videos scored.
        holdout: Share of the videos that a call leaves out, so that they can judge.
        seed: Seed of that split; see `tuning.split_videos`.
    """

    def __init__(
        self,
        model: OpenModel,
        data: str,
        *,
        batch_size: int,
        progress: Progress,
        holdout: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._data = data
        self._holdout, self._seed = holdout, seed
        self._paths = files.expand_globs(data, option="--eval-data")
        # Trained on means, it may be judged on frames.
        self._trained = model
        (self._model,) = share_features([model], self._paths)
        self.notes = describe_means([model], [self._model])
        self._batch_size = batch_size
        self._progress = progress

    def __call__(self, source: TensorSource) -> float:
        """Return GAP@20 of the architecture with these weights, over the videos that choose."""
        if self._holdout:
            scores = self.best_pairs(source).select(self.split[0])
            check_labeled(scores.num_positives, scores.num_videos, self._data)
            return float(Scorer(scores, "probability").gap([1]))
        with GraphRunner(self._model.graph, source) as runner:
            found = evaluate(self._batches(runner), num_classes=self._model.num_classes)
        check_labeled(found.metrics.num_positives, found.metrics.num_videos, self._data)
        return float(found.metrics.gap)

    @cached_property
    def split(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the videos that choose and of those held out, in the order of scoring."""
        ids = read_video_ids(self._paths)
        return split_videos(ids, fraction=self._holdout, seed=self._seed)

    def best_pairs(self, source: TensorSource) -> Candidates:
        """Return the pairs that GAP counts of all videos with these weights."""
        best = BestPairs()
        with GraphRunner(self._model.graph, source) as runner:
            for scores, labels in self._batches(runner):
                best.update(scores, labels)
        return best.candidates()

    def _batches(
        self, runner: GraphRunner
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
        return scored_batches(
            runner,
            self._model,
            self._paths,
            batch_size=self._batch_size,
            progress=self._progress,
        )

    def estimate_batch_norm(
        self, source: TensorSource, data: str
    ) -> dict[str, NDArray[np.float32]]:
        """Return batch-norm statistics of these weights over records.

        Args:
            source: The weights.
            data: Globs of records, best those of training.

        Returns:
            New values by tensor name.

        Raises:
            UsageError: If the architecture has no batch norm.
        """
        model = self._trained
        flags = recognize(model.source.specs(), model.flags)
        batches = (
            (batch.features, batch.num_frames)
            for batch in read_batches(
                files.expand_globs(data, option="--recalibrate-bn"),
                features=model.features,
                num_classes=model.num_classes,
                batch_size=self._batch_size,
            )
        )
        found = estimate_batch_norm(flags, source, batches)
        if not found:
            msg = f"{flags.model} has no batch norm. Leave `--recalibrate-bn` out."
            raise UsageError(msg, model=flags.model)
        return found


@contextmanager
def open_scorer(
    prefix: str, data: str, *, batch_size: int, progress: Progress, holdout: float, seed: int
) -> Iterator[CheckpointScorer]:
    """Open a scorer for checkpoints like the one at `prefix`; other arguments as of the scorer.

    Yields:
        The scorer.
    """
    with open_model(prefix) as model:
        yield CheckpointScorer(
            model, data, batch_size=batch_size, progress=progress, holdout=holdout, seed=seed
        )
