"""Scores of any origin, one file a member: Kaggle CSVs, npz, parquet, and prediction caches.

A npz holds `video_ids (N,)` and `scores (N, C)`; a parquet table has these columns, `scores` a list
of C numbers a row. Every file answers with the videos asked for, in the order asked for. Knows no
labels and mixes nothing.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import reduce
from itertools import pairwise
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.columns import encode_ids, explain_damage, parquet_ids, read_npz, read_parquet
from yt8m_ensemble.errors import AlignmentError, DataError, PredictionsError, UsageError
from yt8m_ensemble.metrics import top_k_classes
from yt8m_ensemble.storage.reader import PredictionsFile, open_predictions
from yt8m_ensemble.storage.submission import ROUNDING, ScoreLists, read_submission
from yt8m_ensemble.values import Kept, Progress, check_distinct, no_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

CACHE_SUFFIXES = (".h5", ".hdf5")
_KEYS = ("video_ids", "scores")


class ScoreFile(Protocol):
    """Scores of N videos by one member."""

    @property
    def path(self) -> str:
        """Where they lie."""
        ...

    @property
    def video_ids(self) -> NDArray[np.bytes_]:
        """The videos, all different, shape `(N,)`."""
        ...

    @property
    def num_classes(self) -> int | None:
        """Classes C; `None` of lists, which do not tell."""
        ...

    @property
    def least_classes(self) -> int:
        """The fewest classes that there can be."""
        ...

    @property
    def shortest(self) -> int | None:
        """The fewest scores that it keeps of a video; `None` if it keeps all."""
        ...

    @property
    def is_rounded(self) -> bool:
        """Whether scores were printed, so that their lowest does not bound the rest exactly."""
        ...

    def kept(self, rows: NDArray[np.int64], top_k: int) -> Kept:
        """Return the `top_k` highest scores of the videos at some places."""
        ...

    def filled(self, rows: NDArray[np.int64], num_classes: int) -> NDArray[np.float32]:
        """Return the scores of all classes, shape `(B, C)`, of the videos at some places."""
        ...


@contextmanager
def open_score_files(
    members: Mapping[str, str],
    *,
    num_classes: int | None = None,
    progress: Progress = no_progress,
) -> Iterator[dict[str, ScoreFile]]:
    """Open the scores of members; all of each is checked but caches, which are read as needed.

    Args:
        members: Path by member name.
        num_classes: Classes C; `None` takes those of the files.
        progress: Called with the number of videos read.

    Yields:
        The open files by member name.

    Raises:
        DataError: If a file does not hold what its ending says; carries `path`.
        PredictionsError: If a file has another number of classes, or a cache is unfinished or of
            other members.
    """
    with ExitStack() as stack:
        opened: dict[str, ScoreFile] = {}
        for name, path in members.items():
            suffix = PurePath(path).suffix.lower()
            if suffix in CACHE_SUFFIXES:
                cache = stack.enter_context(open_predictions(path))
                opened[name] = _CachedScores(cache, name)
            elif suffix in {".npz", ".parquet"}:
                opened[name] = _read_dense(path, suffix)
            else:
                lists = read_submission(path, num_classes=num_classes, progress=progress)
                opened[name] = _ListedScores(lists)
            found = opened[name].num_classes
            if num_classes is not None and found not in {None, num_classes}:
                msg = (
                    f"'{path}' scores {found} classes, expected {num_classes}. Give scores of the "
                    "same vocabulary."
                )
                raise PredictionsError(msg, path=path, found=found, expected=num_classes)
        yield opened


def common_classes(opened: Mapping[str, ScoreFile], *, others: Sequence[int] = ()) -> int:
    """Return the classes C of all files; of lists alone, as many as they show.

    Args:
        opened: Files by member name.
        others: Classes that something else is of, such as the biases of a mixture.

    Raises:
        PredictionsError: If files are of different classes.
    """
    known = {file.path: file.num_classes for file in opened.values() if file.num_classes}
    told = sorted({*known.values(), *others})
    least = max(opened.values(), key=lambda file: file.least_classes)
    if len(told) > 1 or (told and least.least_classes > told[0]):
        listed = [f"'{path}' {found}" for path, found in known.items()]
        listed += [f"the mixture {found}" for found in others]
        msg = (
            f"The scores are of different classes: {', '.join(listed)}; '{least.path}' scores "
            f"class {least.least_classes - 1}. Blend members of one vocabulary."
        )
        raise PredictionsError(msg, classes=told, least=least.least_classes)
    return told[0] if told else least.least_classes


def align_videos(
    opened: Mapping[str, ScoreFile],
    wanted: NDArray[np.bytes_],
    *,
    source: str,
    intersect: bool,
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """Find the videos of all files.

    Args:
        opened: Files by member name.
        wanted: The videos in the order to keep, all different, shape `(N,)`.
        source: Where these come from, for messages.
        intersect: Keep those that all files hold, instead of refusing files that differ.

    Returns:
        Places in `wanted` of the videos kept, and of these the rows in each file.

    Raises:
        AlignmentError: If files hold other videos, or none in common.
    """
    kept = np.arange(len(wanted))
    if intersect:
        both = reduce(np.intersect1d, (file.video_ids for file in opened.values()), wanted)
        kept = np.flatnonzero(np.isin(wanted, both))
        if not len(kept):
            msg = f"'{source}' and {len(opened)} files of scores have no video in common."
            raise AlignmentError(msg, paths=[source, *(file.path for file in opened.values())])
    for file in () if intersect else opened.values():
        _refuse_absent(wanted, file.video_ids, lacking=file.path, holding=source)
        _refuse_absent(file.video_ids, wanted, lacking=source, holding=file.path)
    rows = {}
    for name, file in opened.items():
        order = np.argsort(file.video_ids, kind="stable")
        rows[name] = order[np.searchsorted(file.video_ids, wanted[kept], sorter=order)]
    return kept, rows


def _refuse_absent(
    wanted: NDArray[np.bytes_], held: NDArray[np.bytes_], *, lacking: str, holding: str
) -> None:
    absent = wanted[~np.isin(wanted, held)]
    if len(absent):
        first = absent[0].decode(errors="replace")
        msg = (
            f"'{lacking}' lacks {len(absent):,} of the {len(wanted):,} videos of '{holding}', the "
            f"first is '{first}'. Pass `--intersect` to keep the videos that all of them hold."
        )
        raise AlignmentError(msg, path=lacking, num_absent=len(absent), video_id=first)


class _ListedScores:
    """Lists of a submission."""

    num_classes = None
    is_rounded = True

    def __init__(self, lists: ScoreLists) -> None:
        self.path, self.video_ids = lists.path, lists.video_ids
        self.least_classes = lists.least_classes
        self.shortest = int(lists.lengths.min())
        self.kept, self.filled = lists.kept, lists.filled


class DenseScores:
    """All scores of every video, in memory.

    Args:
        path: Where they come from, for messages.
        video_ids: Shape `(N,)`, text.
        scores: Shape `(N, C)`, floats in `[0, 1]`.

    Raises:
        DataError: If ids are no text or come twice, shapes differ, or a score is no confidence.
    """

    shortest = None
    is_rounded = False

    def __init__(self, path: str, video_ids: NDArray[Any], scores: NDArray[Any]) -> None:
        ids = encode_ids(video_ids)
        if ids is None or not len(ids):
            msg = (
                f"`video_ids` of '{path}' are {video_ids.dtype} of shape {video_ids.shape}, "
                "expected one text a video."
            )
            raise DataError(msg, path=path)
        if scores.dtype.kind != "f" or scores.ndim != 2 or len(scores) != len(ids):  # noqa: PLR2004
            msg = (
                f"`scores` of '{path}' are {scores.dtype} of shape {scores.shape}, expected floats "
                f"of shape ({len(ids)}, classes)."
            )
            raise DataError(msg, path=path, shape=scores.shape)
        if not scores.shape[1]:
            msg = f"`scores` of '{path}' have no class. Write a score for every class."
            raise DataError(msg, path=path, shape=scores.shape)
        check_distinct(ids, names=[path], ends=[len(ids)])
        wrong = ~((scores >= -ROUNDING) & (scores <= 1 + ROUNDING))
        if wrong.any():
            row, class_id = map(int, np.argwhere(wrong)[0])
            video_id = ids[row].decode(errors="replace")
            msg = (
                f"'{path}' gives class {class_id} of video '{video_id}' the score "
                f"{scores[row, class_id]:g}, expected 0 to 1; {np.count_nonzero(wrong):,} scores "
                "are outside. Write probabilities, not logits."
            )
            raise DataError(msg, path=path, video_id=video_id, class_id=class_id)
        self.path, self.video_ids = path, ids
        self.scores = np.clip(scores, 0, 1).astype(np.float32)
        self.num_classes = self.least_classes = scores.shape[1]

    def kept(self, rows: NDArray[np.int64], top_k: int) -> Kept:
        """Return the `top_k` highest scores of the videos at some places."""
        scores = self.scores[rows]
        class_ids = top_k_classes(scores, top_k)
        return Kept.exact(class_ids, np.take_along_axis(scores, class_ids, axis=1))

    def filled(self, rows: NDArray[np.int64], num_classes: int) -> NDArray[np.float32]:
        """Return the scores of all classes, shape `(B, C)`, of the videos at some places."""
        del num_classes  # its own, which `common_classes` has compared
        found: NDArray[np.float32] = self.scores[rows]
        return found


def _read_dense(path: str, suffix: str) -> DenseScores:
    """Read a npz or parquet file.

    Returns:
        Its scores.

    Raises:
        DataError: If it is none, or lacks a key.
    """
    if not files.exists(path):
        msg = f"No file of scores at '{path}'. Check the path."
        raise DataError(msg, path=path)
    files.check_regular(path)
    if suffix == ".npz":
        held = read_npz(path)
        _check_keys(path, held)
        return DenseScores(path, held["video_ids"], held["scores"])
    ids: list[bytes] = []
    blocks: list[NDArray[Any]] = []
    for columns in read_parquet(path):
        _check_keys(path, columns)
        ids += parquet_ids(columns["video_ids"], path=path, name="video_ids")
        with explain_damage(path, kind=suffix):
            blocks.append(_parquet_rows(path, columns["scores"]))
    if len({block.shape[1] for block in blocks}) > 1 or not blocks:
        msg = f"Column `scores` of '{path}' must hold lists of one length, one a video."
        raise DataError(msg, path=path)
    return DenseScores(path, np.array(ids, np.bytes_), np.concatenate(blocks))


def _check_keys(path: str, held: Mapping[str, Any]) -> None:
    """Refuse a file without ids or scores.

    Raises:
        DataError: If one is absent.
    """
    absent = [key for key in _KEYS if key not in held]
    if absent:
        msg = (
            f"'{path}' must hold `video_ids` and `scores`; it holds "
            f"{', '.join(sorted(held)) or 'nothing'}. Rename what it calls otherwise."
        )
        raise DataError(msg, path=path, absent=absent)


def _parquet_rows(path: str, column: Any) -> NDArray[Any]:
    """Return a column of lists of numbers, all of one length, as rows.

    Raises:
        DataError: If it is none.
    """
    lengths = column.value_lengths().to_pylist() if hasattr(column, "value_lengths") else [None]
    if len(set(lengths)) != 1 or lengths[0] is None:
        msg = f"Column `scores` of '{path}' must hold lists of one length, one a video."
        raise DataError(msg, path=path)
    values = np.asarray(column.flatten())
    return values.reshape(len(column), lengths[0])


class _CachedScores:
    """One member of a prediction cache.

    Args:
        file: The open cache.
        name: The member; a cache of one member may call it otherwise.

    Raises:
        PredictionsError: If the cache is unfinished, or holds several others.
    """

    is_rounded: bool

    def __init__(self, file: PredictionsFile, name: str) -> None:
        if not file.is_complete:
            msg = f"'{file.path}' is unfinished. Run the command that began it again."
            raise PredictionsError(msg, path=file.path)
        if name not in file.members and len(file.members) > 1:
            msg = (
                f"'{file.path}' holds no member '{name}', but {', '.join(file.members)}. Name one "
                "of these: NAME=FILE."
            )
            raise PredictionsError(msg, path=file.path, members=file.members)
        self._file = file
        self._member = name if name in file.members else file.members[0]
        self.path, self.video_ids = file.path, file.video_ids
        self.num_classes = self.least_classes = file.num_classes
        self.shortest = file.top_k
        self.is_rounded = file.header.has_bounds

    def kept(self, rows: NDArray[np.int64], top_k: int) -> Kept:
        """Return the `top_k` highest scores of the videos at some places."""
        if self.shortest is None:
            scores = self.filled(rows, self.num_classes)
            class_ids = top_k_classes(scores, top_k)
            return Kept.exact(class_ids, np.take_along_axis(scores, class_ids, axis=1))
        found = Kept.joined([self._file.kept(self._member, *span) for span in _spans(rows)])
        if top_k == self.shortest:
            return found
        best = top_k_classes(found.scores, top_k)
        cut = np.take_along_axis(found.scores, best, axis=1)
        # The unit of the last digit printed of x is at most 10 x / y times that of a lower y.
        lowest, least = cut.min(axis=1), found.scores.min(axis=1)
        margins = found.bounds - least
        with np.errstate(divide="ignore", invalid="ignore"):
            units = np.where(margins > 0, np.maximum(1, 10 * lowest / least), 0)
            bounds = np.nan_to_num(lowest + margins * units, nan=1, posinf=1)
        return Kept(
            np.take_along_axis(found.class_ids, best, axis=1),
            cut,
            np.minimum(bounds, 1).astype(np.float32),
        )

    def filled(self, rows: NDArray[np.int64], num_classes: int) -> NDArray[np.float32]:
        """Return the scores of all classes, shape `(B, C)`, of the videos at some places."""
        del num_classes  # its own, which `common_classes` has compared
        return np.concatenate([self._file.scores(self._member, *span) for span in _spans(rows)])


def _spans(rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield the runs of places that follow each other, as start and end."""
    starts = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    for first, last in pairwise(starts):
        yield int(rows[first]), int(rows[last - 1]) + 1


def name_members(texts: Sequence[str]) -> dict[str, str]:
    """Return the path of each member's scores; a cache without a name brings all its members.

    Args:
        texts: `NAME=FILE`, or the path of a prediction cache.

    Raises:
        UsageError: If none is given, a name is absent, or one comes twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, sign, path = text.partition("=")
        if sign and name and path:
            named = {name: path}
        elif PurePath(text).suffix.lower() in CACHE_SUFFIXES:
            with open_predictions(text) as cache:
                named = dict.fromkeys(cache.members, text)
        else:
            msg = f"'{text}' names no member. Write NAME=FILE, for example teammate={text}."
            raise UsageError(msg, found=text)
        twice = sorted(set(named) & set(found))
        if twice:
            msg = f"Member '{twice[0]}' is given twice. Give each its own name."
            raise UsageError(msg, members=twice)
        found |= named
    if not found:
        msg = "No scores are given. Name at least one file: NAME=FILE."
        raise UsageError(msg)
    return found
