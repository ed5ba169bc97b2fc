"""Compare a model's scores with scores that were stored before: a cache or a Kaggle submission.

Both kinds may leave scores out (a submission keeps 20 pairs a video). What is left out is only
compared with a bound: it may not be above the lowest score that was kept. For GAP it counts as
`Kept` says.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from yt8m_ensemble.constants import EQUIVALENCE_MARGIN
from yt8m_ensemble.errors import AlignmentError, PredictionsError
from yt8m_ensemble.metrics import EvaluationMetrics
from yt8m_ensemble.mixing import mix
from yt8m_ensemble.storage import PredictionsFile, open_predictions
from yt8m_ensemble.storage.submission import read_submission
from yt8m_ensemble.tuning.candidates import BestPairs
from yt8m_ensemble.tuning.equivalence import Equivalence, assess_equivalence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.values import MixtureWeights

_SHOWN: Final = 3


class Stored(NamedTuple):
    """Stored scores of B videos.

    Attributes:
        scores: Shape `(B, C)`, those left out as `Kept` counts them.
        left_out: Which are left out, shape `(B, C)`, bool.
        bounds: What no score left out is above, shape `(B,)`.
    """

    scores: NDArray[np.float32]
    left_out: NDArray[np.bool_]
    bounds: NDArray[np.float32]


Expected = Callable[["NDArray[np.bytes_]"], Stored]
"""From video ids (B,) to their stored scores."""


@dataclass(frozen=True)
class Comparison:
    """Differences between a model's scores and stored ones.

    Args:
        num_videos: Videos compared.
        max_difference: Largest absolute difference of a score; of a score that the stored ones
            leave out, by how much it is above their lowest.
        video_id: The video of that difference.
        class_id: Its class.
        gap: GAP of the model's scores; `None` if the records carry no labels.
        stored_gap: GAP of the stored scores; `None` as before.
        equivalence: Whether the model's GAP is that of the stored scores; `None` as before.
        name: What that class is called; empty if that is not known.
    """

    num_videos: int
    max_difference: float
    video_id: str
    class_id: int
    gap: float | None
    stored_gap: float | None
    equivalence: Equivalence | None = None
    name: str = ""


class Comparer:
    """Gather the comparison batch by batch.

    Args:
        expected: The stored scores; `None` if there are none, for the GAP alone.
        num_classes: C.
        margin: Difference of GAP that counts as none.
    """

    def __init__(
        self,
        expected: Expected | None,
        *,
        num_classes: int,
        margin: float = EQUIVALENCE_MARGIN,
    ) -> None:
        self._expected, self._margin = expected, margin
        self._best = BestPairs(), BestPairs()
        self._metrics = EvaluationMetrics(num_classes), EvaluationMetrics(num_classes)
        self._num_videos, self._num_positives = 0, 0
        self._worst: tuple[float, str, int] = (0.0, "", -1)

    def update(
        self,
        video_ids: NDArray[np.bytes_],
        scores: NDArray[np.floating],
        labels: NDArray[np.bool_],
    ) -> None:
        """Add a batch.

        Args:
            video_ids: Shape `(B,)`.
            scores: Shape `(B, C)`; a nan is a `PredictionsError`.
            labels: Shape `(B, C)`.
        """
        self._num_videos += len(video_ids)
        self._num_positives += int(labels.sum())
        self._metrics[0].update(scores, labels)
        if self._expected is None:
            return
        stored = self._expected(video_ids)
        self._metrics[1].update(stored.scores, labels)
        for best, side in zip(self._best, (stored.scores, scores), strict=True):
            best.update(side, labels)
        excess = np.maximum(scores - stored.bounds[:, None], 0)
        differences = np.where(stored.left_out, excess, np.abs(scores - stored.scores))
        row, class_id = np.unravel_index(int(differences.argmax()), differences.shape)
        largest = float(differences[row, class_id])
        if largest > self._worst[0] or not self._worst[1]:
            self._worst = largest, video_ids[row].decode(), int(class_id)

    def result(self) -> Comparison:
        """Return the comparison over all batches."""
        gaps: list[float | None] = [None, None]
        if self._num_positives:
            gaps = [metrics.result().gap for metrics in self._metrics]
        if self._expected is None:
            gaps[1] = None
        equivalence = None
        if None not in gaps:
            first, second = (best.candidates() for best in self._best)
            equivalence = assess_equivalence(first, second, margin=self._margin)
        return Comparison(self._num_videos, *self._worst, gaps[0], gaps[1], equivalence)


@contextmanager
def stored_scores(
    path: str, *, num_classes: int, mixture: MixtureWeights | None
) -> Iterator[Expected]:
    """Open stored scores.

    Args:
        path: A cache of members' predictions (`.h5`), or a Kaggle submission.
        num_classes: C.
        mixture: How the members of a cache are mixed; `None` for a cache of one model.

    Yields:
        A function from video ids to their scores.
    """
    with ExitStack() as stack:
        if path.endswith((".h5", ".hdf5")):
            cache = stack.enter_context(open_predictions(path))
            yield _from_cache(cache, num_classes=num_classes, mixture=mixture)
        else:
            yield _from_submission(path, num_classes=num_classes)


def _from_cache(
    cache: PredictionsFile, *, num_classes: int, mixture: MixtureWeights | None
) -> Expected:
    """Return the mix of the cached members.

    Raises:
        PredictionsError: If the cache is of other members or classes.
    """
    wanted = mixture.names if mixture else cache.members[:1]
    missing = [name for name in wanted if name not in cache.members]
    if missing or (mixture is None and len(cache.members) > 1):
        msg = (
            f"'{cache.path}' holds predictions of {', '.join(cache.members)}; the bundle's members "
            f"are {', '.join(mixture.names) if mixture else 'not named'}. Cache the predictions of "
            "the models that were merged."
        )
        raise PredictionsError(msg, path=cache.path, members=cache.members, wanted=wanted)
    if cache.num_classes != num_classes:
        msg = (
            f"'{cache.path}' holds {cache.num_classes} classes, the bundle predicts {num_classes}."
        )
        raise PredictionsError(msg, path=cache.path, found=cache.num_classes, expected=num_classes)
    positions = {video_id: n for n, video_id in enumerate(cache.video_ids.tolist())}

    def expected(video_ids: NDArray[np.bytes_]) -> Stored:
        rows = _positions(positions, video_ids, path=cache.path)
        # Records are mostly read in the cache's order: one block, then put into the batch's order.
        start, stop = min(rows), max(rows) + 1
        picked = np.array(rows) - start
        members = [cache.scores(name, start, stop)[picked] for name in wanted]
        mixed = mix(members, mixture) if mixture else members[0]
        left_out = np.zeros(mixed.shape, np.bool_)
        for name in wanted if cache.top_k else ():
            left_out |= _left_out(cache.kept(name, start, stop).class_ids[picked], num_classes)
        return Stored(mixed, left_out, np.full(len(rows), np.inf, np.float32))

    return expected


def _from_submission(path: str, *, num_classes: int) -> Expected:
    """Return the pairs of a submission.

    Raises:
        DataError: If it is no submission.
    """
    lists = read_submission(path, num_classes=num_classes)
    positions = {video_id: n for n, video_id in enumerate(lists.video_ids.tolist())}

    def expected(video_ids: NDArray[np.bytes_]) -> Stored:
        rows = np.array(_positions(positions, video_ids, path=path))
        listed = lists.listed(rows, num_classes)
        scores = lists.filled(rows, num_classes)
        lowest = np.where(listed, scores, np.inf).min(axis=1)
        return Stored(scores, ~listed, lists.bounds(lowest.astype(np.float32)))

    return expected


def _left_out(class_ids: NDArray[np.int32], num_classes: int) -> NDArray[np.bool_]:
    left_out = np.ones((len(class_ids), num_classes), np.bool_)
    np.put_along_axis(left_out, class_ids, values=False, axis=1)
    return left_out


def _positions(
    positions: Mapping[bytes, int], video_ids: NDArray[np.bytes_], *, path: str
) -> list[int]:
    """Return where each video is stored.

    Raises:
        AlignmentError: If one is not.
    """
    ids = video_ids.tolist()
    missing = [video_id.decode() for video_id in ids if video_id not in positions]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        msg = (
            f"'{path}' lacks the videos {', '.join(missing[:_SHOWN])}{more} of the records. Give "
            "the records that the predictions were made from."
        )
        raise AlignmentError(msg, path=path, missing=missing)
    return [positions[video_id] for video_id in ids]
