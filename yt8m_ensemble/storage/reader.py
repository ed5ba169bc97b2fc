"""Read a predictions file row block by row block, whether or not it was finished."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np

from yt8m_ensemble.errors import PredictionsError
from yt8m_ensemble.storage.layout import Header
from yt8m_ensemble.values import Labels

if TYPE_CHECKING:
    from numpy.typing import NDArray


def open_predictions(path: str) -> PredictionsFile:
    """Open a predictions file for reading.

    A file that is being written, or whose writer was killed, shows its whole shards.

    Args:
        path: The `.h5` file.

    Returns:
        A context manager; close it when done.

    Raises:
        PredictionsError: If there is no such file or it is not in the toolkit's layout.
    """
    try:
        file = open_readable(path)
    except FileNotFoundError as error:
        msg = f"There is no predictions file '{path}'. Write it with `yt8m-ens predict --cache`."
        raise PredictionsError(msg, path=path) from error
    except OSError as error:
        msg = f"'{path}' is not an HDF5 file, or it is damaged: {error}. Predict it again."
        raise PredictionsError(msg, path=path) from error
    return PredictionsFile(path, file)


def open_readable(path: str) -> h5py.File:
    """Open an HDF5 file, also one that a writer holds open or left open when it was killed.

    Args:
        path: The file.

    Returns:
        The open file; whoever opened it closes it.

    Raises:
        OSError: If it cannot be opened either way.
    """
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
        self.header = Header.read(file, path=path)
        # Before its first batch a file holds its attributes only.
        ends: NDArray[np.int64] = (
            file["shards/ends"][:] if "shards" in file else np.zeros(0, np.int64)
        )
        self.shards = (
            tuple(n.decode() for n in file["shards/names"][: len(ends)]) if len(ends) else ()
        )
        self.shard_ends = tuple(ends.tolist())
        self.num_videos = self.shard_ends[-1] if self.shard_ends else 0
        self.video_ids: NDArray[np.bytes_] = (
            file["video_ids"][: self.num_videos] if self.num_videos else np.zeros(0, "S1")
        )
        self.is_complete = bool(file.attrs["complete"])

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
            Shape `(stop - start, C)`, float32; a score that was not kept is 0.
        """
        if not self.header.top_k:
            rows: NDArray[np.floating] = self._read("scores", member, start, stop)
            return rows.astype(np.float32, copy=False)
        class_ids, values = self.kept(member, start, stop)
        dense = np.zeros((len(values), self.num_classes), np.float32)
        np.put_along_axis(dense, class_ids, values, axis=1)
        return dense

    def kept(
        self, member: int | str, start: int = 0, stop: int | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the classes and scores that a top-K file keeps of the videos `start:stop`.

        Args:
            member: Its place or name.
            start: First video.
            stop: One past the last video; `None` for all.

        Returns:
            Class ids, rising along each row, and scores, both `(stop - start, K)`. No score that
            was left out is above its row's lowest.

        Raises:
            PredictionsError: If the file is dense.
        """
        if not self.header.top_k:
            msg = f"'{self.path}' keeps every score, not a top K. Read `scores` instead."
            raise PredictionsError(msg, path=self.path)
        values = self._read("scores", member, start, stop)
        return self._read("class_ids", member, start, stop), values.astype(np.float32, copy=False)

    def _read(self, group: str, member: int | str, start: int, stop: int | None) -> NDArray[Any]:
        place = self.members.index(member) if isinstance(member, str) else member
        # Rows past the last whole shard may be half-written.
        stop = self.num_videos if stop is None else min(stop, self.num_videos)
        rows: NDArray[Any] = self._file[f"{group}/{place}"][start:stop]
        return rows
