"""What is needed of N x C scores to rank any mixture exactly: a few dozen classes a video.

Holds arrays, picks them from dense rows, gathers them from blocks, and selects videos. Reads no
file and searches nothing.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from yt8m_ensemble import mapped
from yt8m_ensemble.constants import TOP_K
from yt8m_ensemble.errors import PredictionsError
from yt8m_ensemble.mapped import Growing
from yt8m_ensemble.metrics import top_k_classes
from yt8m_ensemble.mixing import EPSILON, from_space, to_space
from yt8m_ensemble.threads import NUM_THREADS, map_in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    DenseBlock = tuple[NDArray[np.float32], NDArray[np.bool_]]

Block = TypeVar("Block")

MARGIN = 1e-4
"""Relative excess of one score over another that float32 mixing cannot turn into a tie."""

_ROWS = 1 << 15  # videos whose candidates are copied at a time

PER_CLASS_SPARE = 40
"""Ranks kept beyond the metric's where weights differ from class to class."""


@dataclass(frozen=True)
class Candidates:
    """Classes that can be among a mixture's best, video by video in rising class order.

    Args:
        names: Member names.
        indptr: Video n owns the candidates `indptr[n]:indptr[n + 1]`, shape `(N + 1,)`, int64.
        class_ids: Their classes, shape `(n,)`, int32.
        scores: Every member's confidence in them, shape `(M, n)`, float32.
        hits: Whether they are positives, shape `(n,)`, bool.
        positives: Positive labels of each video, shape `(N,)`, int64, candidates or not.
        num_classes: Classes `C`, candidates or not.
        top_k: Pairs kept per video that they suffice for.
    """

    names: tuple[str, ...]
    indptr: NDArray[np.int64]
    class_ids: NDArray[np.int32]
    scores: NDArray[np.float32]
    hits: NDArray[np.bool_]
    positives: NDArray[np.int64]
    num_classes: int
    top_k: int = TOP_K

    @property
    def num_videos(self) -> int:
        """Videos `N`."""
        return len(self.positives)

    @property
    def num_positives(self) -> int:
        """Positive labels in all."""
        return int(self.positives.sum())

    def owners(self) -> NDArray[np.int32]:
        """Return the video of each candidate, shape `(n,)`, int32."""
        owners = mapped.empty(self.class_ids.shape, np.int32)
        for start in range(0, self.num_videos, _ROWS):
            ends = self.indptr[start : start + _ROWS + 1]
            rows = np.arange(start, start + len(ends) - 1, dtype=np.int32)
            owners[ends[0] : ends[-1]] = np.repeat(rows, np.diff(ends))
        return owners

    def select(self, rows: NDArray[np.int64]) -> Candidates:
        """Return the candidates of the given videos, in their order."""
        sizes = np.diff(self.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(sizes)])
        length = int(indptr[-1])
        class_ids = mapped.empty((length,), self.class_ids.dtype)
        scores = mapped.empty((len(self.scores), length), self.scores.dtype)
        hits = mapped.empty((length,), self.hits.dtype)
        for start in range(0, len(rows), _ROWS):
            own = slice(start, start + _ROWS)
            first, last = indptr[start], indptr[min(start + _ROWS, len(rows))]
            moves = np.repeat(self.indptr[rows[own]] - indptr[:-1][own], sizes[own])
            places = np.arange(first, last) + moves
            class_ids[first:last] = self.class_ids[places]
            hits[first:last] = self.hits[places]
            for member, found in zip(self.scores, scores, strict=True):
                found[first:last] = member[places]
            # One copy is in memory at a time: what has been read of this one can go.
            mapped.release(self.scores, self.class_ids, self.hits)
        return replace(
            self,
            indptr=indptr,
            class_ids=class_ids,
            scores=scores,
            hits=hits,
            positives=self.positives[rows],
        )

    def draw(self, num_videos: int, *, seed: int) -> Candidates:
        """Return the candidates of some videos drawn at random, of all if there are no more.

        Args:
            num_videos: Videos to draw, each once; they stay in their order.
            seed: Seed of the draw.
        """
        if self.num_videos <= num_videos:
            return self
        rows = np.random.default_rng(seed).choice(self.num_videos, num_videos, replace=False)
        return self.select(np.sort(rows))

    def select_members(self, members: Sequence[int]) -> Candidates:
        """Return the same candidates with some of the members, in the given order."""
        if list(members) == list(range(len(self.names))):
            return self
        names = tuple(self.names[m] for m in members)
        scores = mapped.empty((len(members), self.scores.shape[1]), self.scores.dtype)
        for found, member in zip(scores, members, strict=True):
            found[:] = self.scores[member]
        mapped.release(self.scores)
        return replace(self, names=names, scores=scores)

    def with_scores(self, mixed: NDArray[np.float32]) -> Candidates:
        """Return the same candidates with one member, whose scores are given, shape `(n,)`."""
        return replace(self, names=("mixed",), scores=mixed[None])


def collect_candidates(
    blocks: Iterable[DenseBlock],
    *,
    names: Sequence[str],
    top_k: int = TOP_K,
    per_class: bool = False,
    bias: Sequence[float] = (),
) -> Candidates:
    """Pick each video's candidates from dense scores, without loss for any mixture in any space.

    Args:
        blocks: Row blocks of scores `(M, B, C)`, float32 in `[0, 1]`, and labels `(B, C)`, bool.
        names: Member names.
        top_k: Pairs kept per video.
        per_class: Also keep `PER_CLASS_SPARE` more ranks, for weights that differ from class to
            class: these may lift a class over others that rank before it in every shared mixture.
        bias: Class bias, C numbers: also keep what any logit mixture with it can need. Adding it
            to every member's logit adds it to their mean, so the same reasoning holds.

    Returns:
        The candidates of all videos.

    Raises:
        PredictionsError: If a score is nan, a member is listed twice, or there is no video.
    """
    num_ranks = top_k + PER_CLASS_SPARE if per_class else top_k

    def pick(given: DenseBlock) -> list[Pairs]:
        block, labels = given
        _refuse_nan(block.max(axis=0), block, names)
        reach = _can_reach(block, num_ranks)
        biased = None
        if len(bias):
            moved = from_space(to_space(block, "logit") + np.asarray(bias, np.float32), "logit")
            reach |= _can_reach(moved, num_ranks)
        rows, classes = np.nonzero(reach)
        if len(bias):
            biased = moved[:, rows, classes]
        hits = labels[rows, classes]
        pairs = Pairs.of(rows, classes, block[:, rows, classes], hits, labels)
        return [pairs.undominated(num_ranks, biased=biased)]

    return gather(pick, blocks, [Gathered(names, top_k)])[0]


def _can_reach(block: NDArray[np.float32], num_ranks: int) -> NDArray[np.bool_]:
    """Return the pairs whose best member is not below the worst member of enough others."""
    # Below EPSILON scores are alike in the logarithmic spaces, so they must count as ties.
    floor = np.maximum(block.min(axis=0), np.float32(EPSILON))
    ceiling = np.maximum(block.max(axis=0), np.float32(EPSILON))
    kept = top_k_classes(floor, num_ranks)
    border = np.take_along_axis(floor, kept, axis=1).min(axis=1, keepdims=True)
    found: NDArray[np.bool_] = ceiling * np.float32(1 + MARGIN) >= border
    return found


@dataclass(frozen=True)
class Pairs:
    """Pairs of a block of videos with some classes each.

    Args:
        sizes: Pairs of each video, shape `(B,)`.
        class_ids: Their classes, video by video, rising within a video, shape `(n,)`, int32.
        scores: Members' scores, shape `(M, n)`, float32.
        hits: Whether they are positives.
        positives: Positive labels of each video, among the pairs or not, shape `(B,)`.
        num_classes: Classes `C`.
    """

    sizes: NDArray[np.integer]
    class_ids: NDArray[np.int32]
    scores: NDArray[np.float32]
    hits: NDArray[np.bool_]
    positives: NDArray[np.integer]
    num_classes: int

    @classmethod
    def of(
        cls,
        rows: NDArray[np.integer],
        class_ids: NDArray[np.integer],
        scores: NDArray[np.float32],
        hits: NDArray[np.bool_],
        labels: NDArray[np.bool_],
    ) -> Pairs:
        """Return pairs by the row of each.

        Args:
            rows: Row of each pair within the block, rising.
            class_ids: As in `Pairs`.
            scores: As in `Pairs`.
            hits: As in `Pairs`.
            labels: Ground truth of the block, shape `(B, C)`.
        """
        return cls(
            np.bincount(rows, minlength=len(labels)),
            class_ids.astype(np.int32, copy=False),
            np.ascontiguousarray(scores, np.float32),
            hits,
            np.count_nonzero(labels, axis=1),
            labels.shape[1],
        )

    @classmethod
    def best(cls, scores: NDArray[np.floating], labels: NDArray[np.bool_], top_k: int) -> Pairs:
        """Return the pairs that GAP counts of dense scores.

        Args:
            scores: Shape `(B, C)`.
            labels: Ground truth, shape `(B, C)`.
            top_k: Pairs a video.

        Raises:
            PredictionsError: If a score is nan.
        """
        class_ids = top_k_classes(scores, top_k)
        rows = np.repeat(np.arange(len(labels)), class_ids.shape[1])
        found = np.take_along_axis(scores, class_ids, axis=1).astype(np.float32)
        hits = np.take_along_axis(labels, class_ids, axis=1)
        return cls.of(rows, class_ids.ravel(), found.reshape(1, -1), hits.ravel(), labels)

    def undominated(self, top_k: int, *, biased: NDArray[np.float32] | None = None) -> Pairs:
        """Return the pairs without those that no mixture can need.

        A class is left out only if `top_k` others score at least as high in *every* member and
        would win ties: weights are not negative and every space's link rises, so those others rank
        before it in every mixture. (The set that remains is known as the k-skyband.)

        Args:
            top_k: Pairs kept per video.
            biased: Members' scores with a class bias, shape `(M, n)`: what is needed with or
                without it is kept.
        """
        from yt8m_ensemble.tuning import kernels

        starts = np.concatenate([[0], np.cumsum(self.sizes)])
        keep = np.zeros(len(self.class_ids), np.bool_)
        widest = int(self.sizes.max(initial=top_k))
        room = np.empty((len(self.scores) + 4, widest), np.float32)
        order = np.empty((3, widest), np.int64)
        views = [self.scores, *([] if biased is None else [np.ascontiguousarray(biased)])]
        for seen in views:
            kernels.keep_undominated(
                starts, seen, self.class_ids, top_k, MARGIN, EPSILON, room, order, keep
            )
        rows = np.repeat(np.arange(len(self.sizes)), self.sizes)
        return replace(
            self,
            sizes=np.bincount(rows[keep], minlength=len(self.sizes)),
            class_ids=self.class_ids[keep],
            scores=self.scores[:, keep],
            hits=self.hits[keep],
        )


class Gathered:
    """Gather pairs block by block.

    Args:
        names: Member names.
        top_k: Pairs kept per video that they suffice for.

    Raises:
        PredictionsError: If a member is listed twice.
    """

    def __init__(self, names: Sequence[str], top_k: int) -> None:
        if len(set(names)) != len(names):
            msg = f"A member is listed twice: {', '.join(names)}. Name each prediction once."
            raise PredictionsError(msg, names=tuple(names))
        self._names, self._top_k = tuple(names), top_k
        self._num_classes = 0
        self._parts = tuple(Growing() for _ in range(5))

    def add(self, pairs: Pairs) -> None:
        """Add the pairs of a block of videos."""
        self._num_classes = pairs.num_classes
        found = pairs.sizes, pairs.class_ids, pairs.scores, pairs.hits, pairs.positives
        for part, array in zip(self._parts, found, strict=True):
            part.append(array)

    def candidates(self) -> Candidates:
        """Return the candidates of all blocks, and forget them.

        Raises:
            PredictionsError: If there is no video.
        """
        if not self._num_classes:
            msg = "The predictions hold no video, so there is nothing to score. Predict some first."
            raise PredictionsError(msg)
        sizes, class_ids, scores, hits, positives = (part.join() for part in self._parts)
        return Candidates(
            self._names,
            np.concatenate([[0], np.cumsum(sizes)]),
            class_ids,
            scores,
            hits,
            positives,
            self._num_classes,
            self._top_k,
        )


class BestPairs(Gathered):
    """Gather the pairs that GAP counts of one way of scoring, batch by batch.

    Args:
        top_k: Pairs a video.
    """

    def __init__(self, top_k: int = TOP_K) -> None:
        super().__init__(("scores",), top_k)

    def update(self, scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> None:
        """Add a batch.

        Args:
            scores: Shape `(B, C)`; a nan is a `PredictionsError`.
            labels: Shape `(B, C)`.
        """
        self.add(Pairs.best(scores, labels, self._top_k))


def gather(
    pick: Callable[[Block], Sequence[Pairs]], blocks: Iterable[Block], gathered: Sequence[Gathered]
) -> list[Candidates]:
    """Gather pairs from blocks of videos, several blocks at a time.

    Args:
        pick: Returns pairs of a block for each of `gathered`; called in threads.
        blocks: Read one after the other.
        gathered: Where pairs go, in the order of the blocks.

    Returns:
        The candidates that each has gathered.

    Raises:
        PredictionsError: If there is no video.
    """
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        for picked in map_in_order(pool, pick, blocks, ahead=NUM_THREADS):
            for into, pairs in zip(gathered, picked, strict=True):
                into.add(pairs)
    return [into.candidates() for into in gathered]


def with_starts(
    blocks: Iterable[tuple[Block, NDArray[np.bool_]]],
) -> Iterator[tuple[int, tuple[Block, NDArray[np.bool_]]]]:
    """Yield the number of the first video of each block, and the block.

    Args:
        blocks: Blocks of videos, each with its labels.
    """
    start = 0
    for block in blocks:
        yield start, block
        start += len(block[1])


def _refuse_nan(
    ceiling: NDArray[np.float32], block: NDArray[np.float32], names: Sequence[str]
) -> None:
    # max() hands nan on, so the ceiling shows whether any member has one.
    if np.isnan(ceiling).any():
        member, _, class_id = map(int, np.argwhere(np.isnan(block))[0])
        msg = f"'{names[member]}' scores class {class_id} of a video as nan. Predict it again."
        raise PredictionsError(msg, member=names[member], class_id=class_id)
