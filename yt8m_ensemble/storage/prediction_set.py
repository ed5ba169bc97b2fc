"""Prediction files of the same videos, opened side by side for tuning, selecting and comparing."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.constants import TOP_K
from yt8m_ensemble.errors import AlignmentError, ModelError, PredictionsError
from yt8m_ensemble.metrics import top_k_classes
from yt8m_ensemble.storage import PredictionsFile, open_predictions, predictions_digest
from yt8m_ensemble.storage.layout import SCORES_DIGEST
from yt8m_ensemble.tuning import (
    Candidates,
    bound_gap,
    collect_candidates,
    collect_top_k,
    rank_exactly,
    rank_top_k,
)
from yt8m_ensemble.values import (
    Kept,
    Labels,
    Progress,
    check_aligned,
    join_features,
    no_progress,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.values import FeatureSpec, MixtureWeights

_ROWS = 256
_KEPT_ROWS = 1024


@dataclass(frozen=True)
class PredictionSet:
    """Members of several prediction files over the videos that they share.

    Args:
        opened: The files.
        rows: Rows of the shared videos in each file; `None` where these are all rows in order.
        video_ids: The shared videos, shape `(N,)`.
        labels: Their labels.
    """

    opened: tuple[PredictionsFile, ...]
    rows: tuple[NDArray[np.int64] | None, ...]
    video_ids: NDArray[np.bytes_]
    labels: Labels

    @property
    def members(self) -> tuple[str, ...]:
        """Names of all members."""
        return tuple(name for file in self.opened for name in file.members)

    @property
    def merge_obstacle(self) -> str | None:
        """Why no merged model could give these scores; `None` if nothing is known against it."""
        fed: dict[str, FeatureSpec] = {}
        for file in self.opened:
            for name, digest in zip(file.members, file.digests, strict=True):
                if digest.startswith(SCORES_DIGEST):
                    return (
                        f"'{name}' is scores without a model, so that the mixture cannot be merged "
                        "into one: `yt8m-ens blend` mixes scores."
                    )
            fed |= zip(file.members, file.header.features, strict=False)
        if not fed:
            return None
        try:
            joint = join_features(fed)
        except ModelError as error:
            return f"These members cannot be merged: {error}"
        means = [name for name, spec in fed.items() if spec.frame_level != joint.frame_level]
        if not means:
            return None
        return (
            f"Merged, '{means[0]}' would be fed with means of frames, not with the video-level "
            "records of these scores: predict all members on frame-level records to tune what the "
            "merged model does."
        )

    @property
    def top_k(self) -> int | None:
        """The most scores that a truncated file keeps; `None` if every file is dense."""
        kept = [file.top_k for file in self.opened if file.top_k]
        return max(kept) if kept else None

    def digests(self) -> dict[str, str]:
        """Return the digest of what each file says, by its path."""
        return {file.path: predictions_digest(file.path) for file in self.opened}

    def candidates(
        self,
        *,
        per_class: bool = False,
        bias: Sequence[float] = (),
        progress: Progress = no_progress,
    ) -> Candidates:
        """Read what ranking any mixture needs.

        Args:
            per_class: Also keep what only weights of each class's own could lift.
            bias: Class bias of a mixture: also keep what only it lifts.
            progress: Called with the number of videos read.

        Returns:
            Candidates, without loss if every file is dense; else scores that were not kept count
            as `Kept` says.
        """
        if self.top_k is not None:
            return collect_top_k(self._kept_blocks(self.members, progress), names=self.members)
        blocks = self.blocks(progress)
        return collect_candidates(blocks, names=self.members, per_class=per_class, bias=bias)

    def rank_exactly(
        self, mixtures: Sequence[MixtureWeights], owners: NDArray[np.integer]
    ) -> list[Candidates]:
        """Mix the scores of each video and keep its best pairs, whatever their class bias.

        Args:
            mixtures: Mixtures of all members.
            owners: Index of the mixture of each video in each of R rankings, shape `(R, N)`; a
                video of -1 is left out of that ranking.

        Returns:
            For each ranking candidates of one member, the mixed scores.
        """
        if self.top_k is not None:
            return rank_top_k(self._kept_blocks(self.members, no_progress), mixtures, owners)
        return rank_exactly(self.blocks(), mixtures, owners)

    def gap_interval(
        self,
        weights: MixtureWeights,
        *,
        rows: NDArray[np.int64] | None = None,
        top_k: int = TOP_K,
        progress: Progress = no_progress,
    ) -> tuple[float, float] | None:
        """Return what the kept scores prove about the GAP of a mixture.

        Args:
            weights: The mixture of some or all members.
            rows: Videos to judge on; `None` for all.
            top_k: Pairs a video that GAP keeps.
            progress: Called with the number of videos read.

        Returns:
            Bounds of GAP with all scores; `None` if every file is dense.
        """
        if self.top_k is None:
            return None
        blocks = self._kept_blocks(weights.names, progress, rows=rows)
        return bound_gap(blocks, weights, top_k=top_k)

    def blocks(
        self, progress: Progress = no_progress, *, names: Sequence[str] | None = None
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
        """Yield the scores of members and the labels, block by block of videos.

        Args:
            progress: Called with the number of videos read.
            names: Members to read, in this order; `None` for all.

        Yields:
            Scores `(M, B, C)` and labels `(B, C)`. A score that was not kept counts as `Kept` says.
        """
        holders = self._holders
        wanted = names or self.members
        # As few reads of truncated files as memory allows: these cost more than what they read.
        rows = _KEPT_ROWS if self.top_k and len(wanted) == 1 else _ROWS
        for start, stop in self._spans(progress, rows):
            scores = [
                _read(holders[name][0], name, holders[name][1], start, stop) for name in wanted
            ]
            yield np.stack(scores), self.labels.to_dense(start, stop)

    @property
    def _holders(self) -> dict[str, tuple[PredictionsFile, NDArray[np.int64] | None]]:
        """The file of each member, and the rows of the shared videos in it."""
        return {
            name: (file, rows)
            for file, rows in zip(self.opened, self.rows, strict=True)
            for name in file.members
        }

    def _kept_blocks(
        self,
        names: Sequence[str],
        progress: Progress,
        *,
        rows: NDArray[np.int64] | None = None,
    ) -> Iterator[tuple[list[Kept], NDArray[np.bool_]]]:
        """Yield what members keep of some videos, and their labels; `None` for all videos."""
        holders, top_k = self._holders, self.top_k or 0
        for start, stop in self._spans(progress, _KEPT_ROWS):
            kept = [
                _read_kept(holders[name][0], name, holders[name][1], start, stop, top_k)
                for name in names
            ]
            labels = self.labels.to_dense(start, stop)
            if rows is not None:
                first, last = np.searchsorted(rows, [start, stop])
                own = rows[first:last] - start
                kept, labels = [one.select(own) for one in kept], labels[own]
            yield kept, labels

    def _spans(self, progress: Progress, rows: int = _ROWS) -> Iterator[tuple[int, int]]:
        num_videos = len(self.video_ids)
        for start in range(0, num_videos, rows):
            stop = min(start + rows, num_videos)
            yield start, stop
            progress("read predictions", stop, num_videos, unit="videos")


@contextmanager
def open_prediction_set(
    paths: Sequence[str], *, intersect: bool = False
) -> Iterator[PredictionSet]:
    """Open prediction files that can be scored together.

    Args:
        paths: The files.
        intersect: Keep the videos that all files hold, instead of refusing files that differ.

    Yields:
        Their members over the shared videos.

    Raises:
        AlignmentError: If they hold different videos, or no video in common.
        PredictionsError: If a file is unfinished or unlabelled, or classes or members collide.
    """
    with ExitStack() as stack:
        opened = tuple(stack.enter_context(open_predictions(path)) for path in paths)
        members = [name for file in opened for name in file.members]
        twice = sorted({name for name in members if members.count(name) > 1})
        if twice:
            msg = (
                f"Member '{twice[0]}' is listed twice. Give each prediction file once; what "
                "tells two files with members of one name apart is `yt8m-ens compare A.h5 B.h5`."
            )
            raise PredictionsError(msg, members=twice)
        yield _share(opened, intersect=intersect)


@contextmanager
def open_prediction_pair(
    first: str, second: str, *, intersect: bool = False
) -> Iterator[tuple[PredictionSet, PredictionSet]]:
    """Open two prediction files of the same videos, whose members may have the same names.

    Args:
        first: A file.
        second: Another.
        intersect: Keep the videos that both hold, instead of refusing files that differ.

    Yields:
        A set for each, over the same videos in the same order.

    Raises:
        AlignmentError: If they hold different videos, or no video in common.
        PredictionsError: If a file is unfinished or both are unlabelled, or classes differ.
    """
    with open_predictions(first) as one, open_predictions(second) as other:
        shared = _share((one, other), intersect=intersect)
        yield (
            replace(shared, opened=shared.opened[:1], rows=shared.rows[:1]),
            replace(shared, opened=shared.opened[1:], rows=shared.rows[1:]),
        )


def _share(opened: tuple[PredictionsFile, ...], *, intersect: bool) -> PredictionSet:
    """Return the files over the videos that they share.

    Raises:
        AlignmentError: If they hold different videos, or no video in common.
    """
    _check(opened)
    rows: tuple[NDArray[np.int64] | None, ...] = (None,) * len(opened)
    video_ids = opened[0].video_ids
    if intersect:
        video_ids = reduce(np.intersect1d, (file.video_ids for file in opened))
        rows = tuple(_places(file.video_ids, video_ids) for file in opened)
    else:
        for file in opened[1:]:
            check_aligned(video_ids, file.video_ids, names=(opened[0].path, file.path))
    if not len(video_ids):
        msg = f"The {len(opened)} prediction files hold no video in common."
        raise AlignmentError(msg, paths=tuple(file.path for file in opened))
    return PredictionSet(opened, rows, video_ids, _labels(opened, rows))


def _check(opened: Sequence[PredictionsFile]) -> None:
    first = opened[0]
    for file in opened:
        if not file.is_complete:
            msg = (
                f"'{file.path}' is unfinished: {len(file.shards)} shards, {file.num_videos} "
                "videos. Run the same `yt8m-ens predict` again to finish it."
            )
            raise PredictionsError(msg, path=file.path, shards=len(file.shards))
        if file.num_classes != first.num_classes:
            msg = (
                f"'{first.path}' scores {first.num_classes} classes, '{file.path}' "
                f"{file.num_classes}. Mix members of one vocabulary."
            )
            raise PredictionsError(msg, classes=(first.num_classes, file.num_classes))


def _labels(opened: Sequence[PredictionsFile], rows: Sequence[NDArray[np.int64] | None]) -> Labels:
    for file, chosen in zip(opened, rows, strict=True):
        labels = file.labels
        if labels is not None:
            found = labels if chosen is None else labels.select(chosen)
            if found.num_positives:
                return found
    msg = (
        f"'{opened[0].path}' holds no labels (the test split has none), so nothing can be judged. "
        "Predict labeled records; `yt8m-ens blend` mixes others."
    )
    raise PredictionsError(msg, path=opened[0].path)


def _places(video_ids: NDArray[np.bytes_], wanted: NDArray[np.bytes_]) -> NDArray[np.int64]:
    order = np.argsort(video_ids, kind="stable")
    return order[np.searchsorted(video_ids, wanted, sorter=order)]


def _read(
    file: PredictionsFile, member: int | str, rows: NDArray[np.int64] | None, start: int, stop: int
) -> NDArray[np.float32]:
    if rows is None:
        return file.scores(member, start, stop)
    # Neighbours in the shared order may lie far apart in a file: one row at a time.
    return np.concatenate([file.scores(member, row, row + 1) for row in rows[start:stop].tolist()])


def _read_kept(  # noqa: PLR0917 - as `_read`, and how much to keep of a dense file
    file: PredictionsFile,
    member: str,
    rows: NDArray[np.int64] | None,
    start: int,
    stop: int,
    top_k: int,
) -> Kept:
    if file.top_k is None:
        # A dense member beside truncated ones is cut to as many scores as they keep.
        scores = _read(file, member, rows, start, stop)
        class_ids = top_k_classes(scores, top_k)
        return Kept.exact(class_ids, np.take_along_axis(scores, class_ids, axis=1))
    if rows is None:
        return file.kept(member, start, stop)
    return Kept.joined([file.kept(member, row, row + 1) for row in rows[start:stop].tolist()])
