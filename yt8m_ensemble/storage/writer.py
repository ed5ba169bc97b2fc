"""Write a predictions file shard by shard, so that an interrupted run loses at most one shard.

Rows go to `OUT.h5.partial`, which becomes OUT once it is whole; until then an older OUT stays as it
was. The partial file is kept in HDF5's single-writer-multiple-reader mode: what was flushed stays
readable even if the process is killed in the middle of a write.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np

from yt8m_ensemble import hdf5
from yt8m_ensemble.errors import PredictionsError, ShapeError
from yt8m_ensemble.files import atomic_file, check_absent, fsync, rename_file
from yt8m_ensemble.locks import lock
from yt8m_ensemble.metrics import top_k_classes
from yt8m_ensemble.storage.layout import (
    SHARD_NAME_BYTES,
    Header,
    bytes_of,
    create_rows,
    plan_rows,
)
from yt8m_ensemble.storage.reader import open_predictions, open_readable, partial_path
from yt8m_ensemble.values import FeatureSpec, Kept, check_distinct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_MIN_ID_BYTES = 16


class PredictionsWriter:
    """Append predictions of all members, batch by batch; a context manager.

    What the same command left unfinished is continued, also with `force`: skip the shards that
    `finished_shards` lists. Leaving the block without an error makes the file complete.

    Args:
        path: The `.h5` file, local; missing parent directories are made.
        members: Member names, all different.
        digests: Content digest of each member's model.
        num_classes: Classes `C`.
        top_k: Keep only so many highest scores of each video and member; `None` keeps all.
        has_bounds: Whether kept scores were rounded, so that bounds of the rest are stored, too.
        dtype: `float32`, or `float16` for half the bytes and many ties.
        command: The command that writes; no other continues its work.
        shards: Names that may be given to `end_shard`; work on others is another run's.
        force: Replace an existing file, and start over where another run left work unfinished.

    Raises:
        OutputExistsError: If the file exists and `force` is not set.
        PredictionsError: If the header makes no sense, or another run left work unfinished and
            `force` is not set.
    """

    def __init__(
        self,
        path: str,
        *,
        members: Sequence[str],
        digests: Sequence[str],
        num_classes: int,
        top_k: int | None = None,
        has_bounds: bool = False,
        features: Sequence[FeatureSpec] = (),
        dtype: str = "float32",
        command: str = "predict",
        shards: Sequence[str] | None = None,
        force: bool = False,
    ) -> None:  # fmt: skip
        self._path, self._partial = path, partial_path(path)
        self._header = Header(
            tuple(members),
            tuple(digests),
            num_classes,
            top_k or 0,
            dtype,
            has_bounds,
            tuple(features),
        )
        self._command, self._force = command, force
        self._shards = None if shards is None else frozenset(shards)
        self._file: h5py.File | None = None
        self._num_videos = self._num_positives = 0
        self.finished_shards: tuple[str, ...] = ()
        self._reserved_to = 0
        self._is_finished = False
        check_absent(path, force=force)
        self._continue()

    @property
    def num_videos(self) -> int:
        """Videos in the file: those it is continued with, and those appended since."""
        return self._num_videos

    def __enter__(self) -> Self:
        """Take the file's lock and open the partial file.

        Returns:
            Itself.

        Raises:
            PredictionsError: If another process is writing the file.
        """
        Path(self._path).parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(lock(self._path, wait=False))
            except BlockingIOError as error:
                msg = (
                    f"Another process is writing '{self._path}'. Wait for it, or write files of "
                    "their own with `yt8m-ens predict --shard I/N` and join them with "
                    "`yt8m-ens merge-predictions`."
                )
                raise PredictionsError(msg, path=self._path) from error
            # Again: a writer that held the lock may have ended shards meanwhile, or all of it.
            check_absent(self._path, force=self._force)
            if not self._continue():
                with atomic_file(self._partial, force=True) as new:
                    attributes = self._header.attributes(command=self._command)
                    hdf5.create(new, attributes, libver="v110")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, *_: object
    ) -> None:
        with self._stack:
            if kind is None:
                self.finish()
            elif self._file is not None:
                self._file.close()
        if error is not None and self.finished_shards:
            error.add_note(
                f"'{self._partial}' keeps {len(self.finished_shards)} finished record files; the "
                "same command goes on from there."
            )

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
        check_finite_scores(header.members, video_ids, scores)
        if header.top_k:
            self.append_kept(video_ids, [_cut(rows, header.top_k) for rows in scores], labels)
        else:
            self._append(video_ids, {"scores": list(scores)}, labels)

    def append_kept(
        self,
        video_ids: NDArray[np.bytes_],
        kept: Sequence[Kept],
        labels: NDArray[np.bool_] | None,
    ) -> None:
        """Add a batch of videos of which a top K is known.

        Args:
            video_ids: Shape `(B,)`, bytes.
            kept: Of every member, `(B, K)` with the K of the file.
            labels: As `append` takes them.

        Raises:
            ShapeError: If they are of other members or keep another K.
        """
        header = self._header
        shape = (len(video_ids), header.top_k)
        if not header.top_k or [one.scores.shape for one in kept] != [shape] * len(header.members):
            msg = (
                f"Kept scores have shapes {[one.scores.shape for one in kept]}, expected "
                f"{len(header.members)} of {shape} (videos, K)."
            )
            raise ShapeError(msg, expected=shape)
        columns: dict[str, list[NDArray[Any]]] = {
            "scores": [one.scores for one in kept],
            "class_ids": [one.class_ids for one in kept],
        }
        if header.has_bounds:
            columns["bounds"] = [one.bounds for one in kept]
        self._append(video_ids, columns, labels)

    def _append(
        self,
        video_ids: NDArray[np.bytes_],
        columns: Mapping[str, Sequence[NDArray[Any]]],
        labels: NDArray[np.bool_] | None,
    ) -> None:
        self._reserve(video_ids, labels)
        file = self._rows(video_ids, has_labels=labels is not None)
        _extend(file["video_ids"], video_ids, at=self._num_videos)
        for group, members in columns.items():
            for member, rows in enumerate(members):
                _extend(file[f"{group}/{member}"], rows, at=self._num_videos)
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
        """End the last shard if it has rows left, mark the file as complete, and rename it.

        Called when the block ends; nothing can be appended after it, and nothing is done again. A
        video that comes twice is a `DataError`.
        """
        if self._is_finished:
            return
        file = self._rows(np.zeros(0, "S1"), has_labels=False)
        ends = file["shards/ends"][-1:]
        if self._num_videos > (ends[0] if len(ends) else 0):
            self.end_shard("rest")
        file.close()
        self._file = None
        with open_predictions(self._partial) as written:
            check_distinct(written.video_ids, names=written.shards, ends=written.shard_ends)
        with h5py.File(self._partial, "r+") as reopened:  # attributes cannot change in that mode
            reopened.attrs["complete"] = True
        fsync(self._partial)
        rename_file(self._partial, self._path, force=self._force)
        self._is_finished = True
        Path(self._partial).unlink(missing_ok=True)  # a second name, where links were used

    def _rows(self, video_ids: NDArray[np.bytes_], *, has_labels: bool) -> h5py.File:
        if self._file is None:
            self._file = _open_appendable(self._partial)
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
            self._file = None
            _rewrite(self._partial, rows=self._num_videos, id_bytes=2 * video_ids.dtype.itemsize)
            file = self._file = _open_appendable(self._partial)
        if not file.swmr_mode:
            file.swmr_mode = True
        return file

    def _reserve(self, video_ids: NDArray[np.bytes_], labels: NDArray[np.bool_] | None) -> None:
        """Make sure that the disk has room for a batch before HDF5 tries to write it."""
        needed = bytes_of(
            self._header,
            num_videos=self._num_videos + len(video_ids),
            num_positives=self._num_positives
            + (0 if labels is None else int(np.count_nonzero(labels))),
            id_bytes=max(2 * video_ids.dtype.itemsize, _MIN_ID_BYTES),
            num_shards=len(self.finished_shards) + 1,
        )
        if needed > self._reserved_to:
            # What a killed writer left beyond its last shard is not used again.
            lost = 0 if self._reserved_to else Path(self._partial).stat().st_size
            self._reserved_to = needed
            hdf5.reserve(self._partial, needed + lost)

    def _continue(self) -> bool:
        """Read what the same command left unfinished; return whether there is anything.

        Returns:
            Whether the partial file is to be continued.

        Raises:
            PredictionsError: If it is another run's, and `force` is not set.
        """
        if not Path(self._partial).exists():
            return False
        try:
            old = open_predictions(self._partial)
        except PredictionsError:
            return False  # killed before it held anything, or damaged: nothing to go on from
        with old:
            is_same = (old.header, old.command) == (self._header, self._command)
            foreign = sorted(set(old.shards) - (self._shards or set(old.shards)))
            if is_same and not foreign:
                self.finished_shards = old.shards
                self._num_videos = old.num_videos
                labels = old.labels
                self._num_positives = 0 if labels is None else labels.num_positives
                return True
            if not self._force:
                differences = old.header.differences(self._header)
                if old.command != self._command:
                    differences.append(f"what {old.command} writes")
                found = "; ".join(differences) or f"scores of '{foreign[0]}'"
                msg = (
                    f"'{self._partial}' is the unfinished work of another run (of "
                    f"{old.command}): it holds {found}. Finish that run, or pass "
                    "`--force` to start over."
                )
                raise PredictionsError(msg, path=self._partial, shards=foreign)
        return False


def check_finite_scores(
    members: Sequence[str], video_ids: NDArray[np.bytes_], scores: NDArray[np.floating]
) -> None:
    """Refuse scores that are no numbers.

    Args:
        members: Names of the M members.
        video_ids: Shape `(B,)`, bytes.
        scores: Shape `(M, B, ...)`.

    Raises:
        PredictionsError: If a member gives one; names it.
    """
    if np.isfinite(scores).all():
        return
    member, video = (int(places[0]) for places in np.nonzero(~np.isfinite(scores))[:2])
    msg = (
        f"Member '{members[member]}' scores video '{video_ids[video].decode(errors='replace')}' "
        "with values that are not finite. Look for such weights with `yt8m-ens inspect --stats`."
    )
    raise PredictionsError(msg, member=members[member])


def _cut(scores: NDArray[np.floating], top_k: int) -> Kept:
    class_ids = top_k_classes(scores, top_k)
    return Kept.exact(class_ids, np.take_along_axis(scores, class_ids, axis=1))


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
        attributes = header.attributes(command=str(old.attrs["command"]))
        hdf5.create(temporary, attributes, libver="v110")
        if "video_ids" not in old:
            return
        has_labels = bool(old.attrs["has_labels"])
        id_bytes = max(id_bytes, old["video_ids"].dtype.itemsize)
        num_shards = len(old["shards/ends"])
        num_positives = int(old["labels/indptr"][rows - 1]) if has_labels and rows else 0
        size = bytes_of(
            header,
            num_videos=rows,
            num_positives=num_positives,
            id_bytes=id_bytes,
            num_shards=num_shards,
        )
        hdf5.reserve(temporary, size)
        lengths = {
            "shards/names": num_shards,
            "shards/ends": num_shards,
            "labels/class_ids": num_positives,
        }
        with h5py.File(temporary, "r+", libver="v110") as new:
            create_rows(new, header, id_bytes=id_bytes, has_labels=has_labels)
            for name in plan_rows(header, id_bytes=id_bytes, has_labels=has_labels):
                _copy_rows(old[name], new[name], lengths.get(name, rows))


def _copy_rows(source: h5py.Dataset, target: h5py.Dataset, length: int) -> None:
    step = target.chunks[0]
    target.resize(length, axis=0)
    for start in range(0, length, step):
        stop = min(start + step, length)
        target[start:stop] = source[start:stop]
