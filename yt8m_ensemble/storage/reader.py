"""Read a predictions file row block by row block; whatever is damaged in it is a clear error."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np

from yt8m_ensemble import hdf5
from yt8m_ensemble.errors import PredictionsError
from yt8m_ensemble.storage.layout import Header, plan_rows
from yt8m_ensemble.values import Kept, Labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_ROUNDING = 1e-6


def partial_path(path: str) -> str:
    """Return where a predictions file is written until it is whole."""
    return f"{path}.partial"


def open_predictions(path: str) -> PredictionsFile:
    """Open a predictions file for reading.

    Args:
        path: The `.h5` file. Of a partial one, also while it is being written, the whole shards
            count.

    Returns:
        A context manager; close it when done.

    Raises:
        PredictionsError: If there is no such file, it is not finished, or it is not in the
            toolkit's layout.
    """
    try:
        file = open_readable(path)
    except FileNotFoundError as error:
        raise PredictionsError(_why_absent(path), path=path) from error
    except OSError as error:
        msg = f"'{path}' is not an HDF5 file, or it is damaged: {error}. Predict it again."
        raise PredictionsError(msg, path=path) from error
    try:
        return PredictionsFile(path, file)
    except BaseException:
        file.close()
        raise


def _why_absent(path: str) -> str:
    partial = partial_path(path)
    if not Path(partial).exists():
        return f"There is no predictions file '{path}'. Write it with `yt8m-ens predict --cache`."
    try:
        with open_predictions(partial) as found:
            progress = f"{len(found.shards)} record files, {found.num_videos:,} videos so far"
    except PredictionsError:
        progress = "nothing yet"
    return (
        f"'{path}' is not finished: '{partial}' holds {progress}. Run the command that began it "
        "again."
    )


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn whatever damaged content makes HDF5 and numpy raise into one error.

    Yields:
        Nothing.

    Raises:
        PredictionsError: If anything is raised.
    """
    try:
        yield
    except PredictionsError:
        raise
    except Exception as error:
        reason = str(error).strip() or type(error).__name__
        msg = f"'{path}' is damaged: {reason.rstrip('.')}. Predict it again, or restore a copy."
        raise PredictionsError(msg, path=path, reason=reason) from error


def open_readable(path: str) -> h5py.File:
    """Open an HDF5 file, also one that a writer holds open or left open when it was killed.

    Args:
        path: The file.

    Returns:
        The open file; whoever opened it closes it.

    Raises:
        OSError: If it cannot be opened either way.
    """
    hdf5.check_heaps_of_attributes(path)
    try:
        return h5py.File(path, "r")
    except BlockingIOError:
        return h5py.File(path, "r", swmr=True)
    except OSError as error:
        if "already open for write" not in str(error):
            raise
        return h5py.File(path, "r", swmr=True)


class PredictionsFile:
    """The members' scores, the video ids and the labels of one file.

    Args:
        path: Where it was opened, for messages.
        file: The open HDF5 file.

    Raises:
        PredictionsError: If the file is not in the toolkit's layout.
    """

    def __init__(self, path: str, file: h5py.File) -> None:
        self.path = path
        self._file = file
        with _explained(path):
            self.header = Header.read(file, path=path)
            # Before its first batch a file holds its attributes only.
            for name in ("shards/ends", "shards/names"):
                if "shards" in file and file[name].dtype.kind == "O":
                    # Its texts would lie in heaps, which were not looked at.
                    msg = f"`{name}` holds texts of any length"
                    raise ValueError(msg)
            self.shard_ends: tuple[int, ...] = (
                tuple(file["shards/ends"][:].tolist()) if "shards" in file else ()
            )
            num_shards = len(self.shard_ends)
            names = file["shards/names"][:num_shards] if num_shards else ()
            self.shards = tuple(name.decode() for name in names)
            self.num_videos = self.shard_ends[-1] if self.shard_ends else 0
            self._check_rows()
            ids = file["video_ids"][: self.num_videos] if self.num_videos else np.zeros(0, "S1")
            # Without h5py's notes on the dtype, of which `np.savez` would warn.
            self.video_ids: NDArray[np.bytes_] = ids.view(ids.dtype.str)
            self.is_complete = bool(file.attrs["complete"])
            self.command = str(file.attrs.get("command", "predict"))

    def _check_rows(self) -> None:
        """Compare the datasets with the header and with what the shards say.

        Raises:
            ValueError: If they differ.
        """
        ends = (0, *self.shard_ends)
        if len(self.shards) != len(self.shard_ends) or any(a > b for a, b in pairwise(ends)):
            msg = "its shards do not follow each other"
            raise ValueError(msg)
        if not self.num_videos:
            return
        has_labels = bool(self._file.attrs["has_labels"])
        planned = plan_rows(self.header, id_bytes=1, has_labels=has_labels)
        for name, (shape, dtype) in planned.items():
            found = self._file[name]
            own_length = name.startswith("shards/") or name == "labels/class_ids"
            expected = ("" if own_length else self.num_videos, *shape)
            if (
                found.dtype.kind != dtype.kind
                or found.shape[1:] != shape
                or (not own_length and len(found) < self.num_videos)
                or (dtype.kind != "S" and found.dtype != dtype)
            ):
                msg = f"`{name}` is {found.dtype} {found.shape}, expected {dtype} {expected}"
                raise ValueError(msg)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def members(self) -> tuple[str, ...]:
        """Member names."""
        return self.header.members

    @property
    def digests(self) -> tuple[str, ...]:
        """Content digest of each member's model."""
        return self.header.digests

    @property
    def num_classes(self) -> int:
        """Classes `C`."""
        return self.header.num_classes

    @property
    def top_k(self) -> int | None:
        """Scores kept a video and member; `None` if all."""
        return self.header.top_k or None

    @cached_property
    def labels(self) -> Labels | None:
        """The positive classes of every video; `None` if the records carried none."""
        with _explained(self.path):
            if not self.num_videos or not self._file.attrs["has_labels"]:
                return None
            ends = self._file["labels/indptr"][: self.num_videos]
            indptr = np.concatenate([[0], ends]).astype(np.int64)
            class_ids = self._file["labels/class_ids"][: indptr[-1]]
            return Labels(self.video_ids, indptr, class_ids, self.num_classes)

    def scores(
        self, member: int | str, start: int = 0, stop: int | None = None
    ) -> NDArray[np.float32]:
        """Return a member's scores of the videos `start:stop`.

        Args:
            member: Its place or name.
            start: First video.
            stop: One past the last video; `None` for all.

        Returns:
            Shape `(stop - start, C)`, float32; a score that was not kept counts as `Kept` says.
        """
        if not self.header.top_k:
            return self._read_scores(member, start, stop)
        return self.kept(member, start, stop).filled(self.num_classes)

    def kept(self, member: int | str, start: int = 0, stop: int | None = None) -> Kept:
        """Return the classes and scores that a top-K file keeps of the videos `start:stop`.

        Args:
            member: Its place or name.
            start: First video.
            stop: One past the last video; `None` for all.

        Returns:
            Classes and scores, both `(stop - start, K)`, and the bounds of those left out.

        Raises:
            PredictionsError: If the file is dense.
        """
        if not self.header.top_k:
            msg = f"'{self.path}' keeps every score, not a top K. Read `scores` instead."
            raise PredictionsError(msg, path=self.path)
        values = self._read_scores(member, start, stop)
        with _explained(self.path):
            class_ids = self._read("class_ids", member, start, stop)
            _check_kept(class_ids, self.num_classes)
            if not self.header.has_bounds:
                return Kept.exact(class_ids, values)
            bounds = self._read("bounds", member, start, stop)
            _check_bounds(bounds, values)
            return Kept(class_ids, values, bounds)

    def stored(self, group: str, member: int, *, rows: int) -> Iterator[NDArray[Any]]:
        """Yield what is stored of a member, as it is stored, in blocks of rows.

        Args:
            group: `scores`, or `class_ids` of a top-K file.
            member: Its place.
            rows: Videos a block.

        Yields:
            The blocks.
        """
        for start in range(0, self.num_videos, rows):
            yield self._read(group, member, start, start + rows)

    def _read_scores(self, member: int | str, start: int, stop: int | None) -> NDArray[np.float32]:
        """Return stored scores; those a rounding outside `[0, 1]` are clipped.

        Raises:
            PredictionsError: If one is not a confidence.
        """
        rows = self._read("scores", member, start, stop).astype(np.float32, copy=False)
        low, high = (rows.min(), rows.max()) if rows.size else (0, 0)
        if low >= 0 and high <= 1:
            return rows
        if low >= -_ROUNDING and high <= 1 + _ROUNDING:
            return np.clip(rows, 0, 1)
        name = member if isinstance(member, str) else self.members[member]
        worst = low if not low >= -_ROUNDING else high
        msg = (
            f"'{self.path}' holds the score {worst:g} of member '{name}' among videos {start:,} to "
            f"{start + len(rows):,}, expected 0 to 1. Predict it again, or restore a copy."
        )
        raise PredictionsError(msg, path=self.path, member=name, score=float(worst))

    def _read(self, group: str, member: int | str, start: int, stop: int | None) -> NDArray[Any]:
        place = self.members.index(member) if isinstance(member, str) else member
        # Rows past the last whole shard may be half-written.
        stop = self.num_videos if stop is None else min(stop, self.num_videos)
        with _explained(self.path):
            rows: NDArray[Any] = self._file[f"{group}/{place}"][start:stop]
        return rows


def _check_kept(class_ids: NDArray[np.int32], num_classes: int) -> None:
    """Refuse kept classes that are not of the vocabulary, or not in their order.

    Raises:
        ValueError: If there are any.
    """
    if not class_ids.size:
        return
    low, high = class_ids.min(), class_ids.max()
    if low < 0 or high >= num_classes or np.any(np.diff(class_ids, axis=1) <= 0):
        msg = f"the kept classes, {low} to {high} of {num_classes}, do not rise within a video"
        raise ValueError(msg)


def _check_bounds(bounds: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
    """Refuse bounds below a kept score's rounding or of no confidence.

    Raises:
        ValueError: If there are any.
    """
    if not bool(np.all((bounds >= scores.min(axis=1)) & (bounds <= 1))):
        msg = "the bounds of scores left out do not lie between the lowest kept and 1"
        raise ValueError(msg)
