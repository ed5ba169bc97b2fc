"""Write a predictions file shard by shard, so that an interrupted run loses at most one shard.

The file is kept in HDF5's single-writer-multiple-reader mode: what was flushed stays readable even
if the process is killed in the middle of a write.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np

from yt8m_ensemble.errors import PredictionsError, ShapeError
from yt8m_ensemble.files import atomic_file, check_absent
from yt8m_ensemble.metrics import top_k_classes
from yt8m_ensemble.storage.layout import SHARD_NAME_BYTES, Header, create_rows
from yt8m_ensemble.storage.reader import open_predictions, open_readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MIN_ID_BYTES = 16


class PredictionsWriter:
    """Append predictions of all members, batch by batch; a context manager.

    An unfinished file of the same members, classes and dtype is continued: skip the shards that
    `finished_shards` lists. A finished one is refused without `force`. Leaving the block without
    an error marks the file as complete.

    Args:
        path: The `.h5` file, local; missing parent directories are made.
        members: Member names, all different.
        digests: Content digest of each member's model.
        num_classes: Classes `C`.
        top_k: Keep only so many highest scores of each video and member; `None` keeps all.
        dtype: `float32`, or `float16` for half the bytes and many ties.
        force: Start over even if the file exists.

    Raises:
        OutputExistsError: If the file is complete and `force` is not set.
        PredictionsError: If the header makes no sense, or an unfinished file was written with
            other members, digests, classes or dtype.
    """

    def __init__(
        self,
        path: str,
        *,
        members: Sequence[str],
        digests: Sequence[str],
        num_classes: int,
        top_k: int | None = None,
        dtype: str = "float32",
        force: bool = False,
    ) -> None:  # fmt: skip
        self._path = path
        self._header = Header(tuple(members), tuple(digests), num_classes, top_k or 0, dtype)
        self._file: h5py.File | None = None
        self._num_videos = self._num_positives = 0
        self.finished_shards: tuple[str, ...] = ()
        self._force = force
        self._lock: _Lock | None = None
        if Path(path).exists() and not force:
            self._continue()

    @property
    def num_videos(self) -> int:
        """Videos in the file: those it is continued with, and those appended since."""
        return self._num_videos

    def __enter__(self) -> Self:
        """Take the file's lock and open it.

        Returns:
            Itself.

        Raises:
            PredictionsError: If another process is writing the file.
        """
        target = Path(self._path)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _Lock(target)
        if self._force or not target.exists():
            # Made at once, so that a directory that cannot be written to is known before the work.
            self._file = h5py.File(self._path, "w", libver="v110")
            self._header.write(self._file)
            self._file.flush()
        else:
            self._continue()  # again: a writer that held the lock may have ended shards meanwhile
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.finish()
            elif self._file is not None:
                self._file.close()
        finally:
            if self._lock is not None:
                self._lock.release()

    def append(
        self,
        video_ids: NDArray[np.bytes_],
        scores: NDArray[np.floating],
        labels: NDArray[np.bool_] | None,
    ) -> None:
        """Add a batch of videos; it counts once its shard has ended.

        Args:
            video_ids: Shape `(B,)`, bytes.
            scores: Shape `(M, B, C)`, confidences of every member.
            labels: Shape `(B, C)`, bool; `None` in every batch if the records carry no labels.

        Raises:
            ShapeError: If the shapes do not fit the members, classes and each other.
            PredictionsError: If only some batches have labels.
        """
        header = self._header
        expected = (len(header.members), len(video_ids), header.num_classes)
        if scores.shape != expected or (labels is not None and labels.shape != expected[1:]):
            found = "none" if labels is None else str(labels.shape)
            msg = (
                f"Scores have shape {scores.shape} and labels {found}; expected {expected} and "
                f"{expected[1:]} (members, videos, classes)."
            )
            raise ShapeError(msg, scores=scores.shape, expected=expected)
        file = self._rows(video_ids, has_labels=labels is not None)
        _extend(file["video_ids"], video_ids, at=self._num_videos)
        for member, rows in enumerate(scores):
            self._append_member(file, member, rows)
        if labels is not None:
            counts = np.count_nonzero(labels, axis=1)
            ends = self._num_positives + np.cumsum(counts)
            _extend(file["labels/indptr"], ends, at=self._num_videos)
            _extend(file["labels/class_ids"], np.nonzero(labels)[1], at=self._num_positives)
            self._num_positives += int(counts.sum())
        self._num_videos += len(video_ids)

    def end_shard(self, name: str) -> None:
        """Make the rows since the last shard count, whatever happens to the process later.

        Args:
            name: The shard's name, by which a later run knows to skip it.

        Raises:
            PredictionsError: If the name is longer than 256 bytes.
        """
        encoded = name.encode()
        if len(encoded) > SHARD_NAME_BYTES:
            msg = f"The shard name '{name}' is longer than {SHARD_NAME_BYTES} bytes; shorten it."
            raise PredictionsError(msg, name=name)
        file = self._rows(np.zeros(0, "S1"), has_labels=False)
        place = len(self.finished_shards)
        _extend(file["shards/names"], np.array([encoded]), at=place)
        file.flush()  # rows and name first: the end below makes them count
        _extend(file["shards/ends"], np.array([self._num_videos]), at=place)
        file.flush()
        self.finished_shards += (name,)

    def finish(self) -> None:
        """End the last shard if it has rows left, mark the file as complete, and close it.

        Called when the block ends; nothing can be appended after it.
        """
        file = self._rows(np.zeros(0, "S1"), has_labels=False)
        ends = file["shards/ends"][-1:]
        if self._num_videos > (ends[0] if len(ends) else 0):
            self.end_shard("rest")
        file.close()
        with h5py.File(self._path, "r+") as reopened:  # attributes cannot change while readers may
            reopened.attrs["complete"] = True
        self._file = None

    def _append_member(self, file: h5py.File, member: int, rows: NDArray[np.floating]) -> None:
        values = rows
        if self._header.top_k:
            classes = top_k_classes(rows, self._header.top_k)
            values = np.take_along_axis(rows, classes, axis=1)
            _extend(file[f"class_ids/{member}"], classes, at=self._num_videos)
        _extend(file[f"scores/{member}"], values, at=self._num_videos)

    def _rows(self, video_ids: NDArray[np.bytes_], *, has_labels: bool) -> h5py.File:
        if self._file is None:
            self._file = _open_appendable(self._path)
        file = self._file
        if "video_ids" not in file:
            id_bytes = max(_MIN_ID_BYTES, video_ids.dtype.itemsize)
            create_rows(file, self._header, id_bytes=id_bytes, has_labels=has_labels)
        if not len(video_ids):
            return file
        if bool(file.attrs["has_labels"]) != has_labels:
            msg = (
                f"Some records of '{self._path}' carry labels and some do not. "
                "Predict labelled and unlabelled records into different files."
            )
            raise PredictionsError(msg, path=self._path)
        if video_ids.dtype.itemsize > file["video_ids"].dtype.itemsize:
            file.close()
            _rewrite(self._path, rows=self._num_videos, id_bytes=2 * video_ids.dtype.itemsize)
            file = self._file = _open_appendable(self._path)
        if not file.swmr_mode:
            file.swmr_mode = True
        return file

    def _continue(self) -> None:
        with open_predictions(self._path) as old:
            if old.is_complete:
                check_absent(self._path, force=False)
            if old.header != self._header:
                msg = (
                    f"'{self._path}' is the unfinished work of another run: it holds {old.header}, "
                    f"now {self._header}. Pass `--force` to start over."
                )
                raise PredictionsError(msg, path=self._path)
            self.finished_shards = old.shards
            self._num_videos = old.num_videos
            labels = old.labels
            self._num_positives = 0 if labels is None else labels.num_positives


class _Lock:
    """Keep a second writer out; HDF5's own lock is given up once readers are let in."""

    def __init__(self, target: Path) -> None:
        self._path = target.with_name(f".{target.name}.lock")
        self._file = self._path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            msg = (
                f"Another process is writing '{target}'. Wait for it, or write files of their "
                "own with `yt8m-ens predict --shard I/N` and join them with "
                "`yt8m-ens merge-predictions`."
            )
            raise PredictionsError(msg, path=str(target)) from error

    def release(self) -> None:
        self._path.unlink(missing_ok=True)
        self._file.close()


def _extend(dataset: h5py.Dataset, rows: NDArray[Any], *, at: int) -> None:
    # `at` rather than the end: rows after it belong to a shard that was never ended.
    dataset.resize(at + len(rows), axis=0)
    dataset[at:] = rows


def _open_appendable(path: str) -> h5py.File:
    try:
        return h5py.File(path, "r+", libver="v110")
    except OSError:
        # The last writer was killed: HDF5 refuses to write to such a file, but reads it.
        with open_predictions(path) as old:
            num_videos = old.num_videos
        _rewrite(path, rows=num_videos)
        return h5py.File(path, "r+", libver="v110")


def _rewrite(path: str, *, rows: int, id_bytes: int = 0) -> None:
    """Copy the first rows into a sound file of the same name, with wider video ids if asked."""
    with open_readable(path) as old, atomic_file(path, force=True) as temporary:
        header = Header.read(old, path=path)
        has_labels = bool(old.attrs["has_labels"])
        with h5py.File(temporary, "w", libver="v110") as new:
            header.write(new)
            id_bytes = max(id_bytes, old["video_ids"].dtype.itemsize)
            create_rows(new, header, id_bytes=id_bytes, has_labels=has_labels)
            num_shards = len(old["shards/ends"])
            num_positives = int(old["labels/indptr"][rows - 1]) if has_labels and rows else 0
            lengths = {
                "shards/names": num_shards,
                "shards/ends": num_shards,
                "labels/class_ids": num_positives,
            }
            names: list[str] = []
            new.visititems(
                lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
            )
            for name in names:
                _copy_rows(old[name], new[name], lengths.get(name, rows))


def _copy_rows(source: h5py.Dataset, target: h5py.Dataset, length: int) -> None:
    step = target.chunks[0]
    target.resize(length, axis=0)
    for start in range(0, length, step):
        stop = min(start + step, length)
        target[start:stop] = source[start:stop]
