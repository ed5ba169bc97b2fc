"""Records to batches on `tf.data`: one ordered reader for scoring, one shuffled for training.

Parsing is vectorised over whole batches and runs on all cores; records are read as they lie, so the
order never depends on the machine.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from yt8m_ensemble import files
from yt8m_ensemble.data.census import Census, describe_empty
from yt8m_ensemble.data.diagnosis import RECORD_OVERHEAD, check_records, check_size
from yt8m_ensemble.data.parsing import READ_ERRORS, parse_records
from yt8m_ensemble.data.record_count import estimate_num_records
from yt8m_ensemble.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.values import FeatureSpec

_READ_BUFFER = 4 << 20
_SHUFFLE_BYTES = 128 << 20
_FRAMES_GUESS = 230  # mean length of a YouTube-8M video in seconds; only sizes the shuffle buffer
_MAX_SHUFFLE = 16_384
_PARSERS = min(8, os.cpu_count() or 1)  # each holds a batch; one reads 2,500 videos a second
# TensorFlow's tuner of such numbers sleeps for up to a minute, and an iterator may wait for it to
# wake up before it ends.
_OPTIONS = tf.data.Options()
_OPTIONS.autotune.enabled = False


@dataclass(frozen=True)
class Batch:
    """A batch of B videos as a model is fed with them; arrays are read-only.

    Args:
        video_ids: Shape `(B,)`, bytes.
        features: Shape `(B, F)`, or `(B, T, F)` at frame level with T the spec's `max_frames`;
            float32, dequantised, concatenated in the spec's order. Frames past `num_frames` are 0.
            A reader that keeps bytes leaves frames in the uint8 of the records.
        num_frames: Shape `(B,)`, int32: true frames, at most `max_frames`; 1 at video level.
        labels: Shape `(B, C)`, bool; all false where a record has none.
        shards: Shape `(B,)`, int32: index of each record's file in the paths given.
    """

    video_ids: NDArray[np.bytes_]
    features: NDArray[Any]
    num_frames: NDArray[np.int32]
    labels: NDArray[np.bool_]
    shards: NDArray[np.int32]


def read_batches(
    paths: Sequence[str], *, features: FeatureSpec, num_classes: int, batch_size: int
) -> Iterator[Batch]:
    """Read every record once: files in the order given, records in theirs, last batch smaller.

    While one batch is used, the next are read and parsed on all cores. A batch of B frame-level
    videos takes B * max_frames * F * 4 bytes, and one batch a core is in memory beside it.

    Args:
        paths: TFRecord files, local or of TensorFlow's file layer.
        features: Which features to read, and at which level.
        num_classes: C; a label at or above it is an error.
        batch_size: B.

    Returns:
        The batches, made while they are asked for.

    Raises:
        DataError: At the first bad record; carries `path` and `index` (from 0).
    """
    return iter(
        BatchReader(paths, features=features, num_classes=num_classes, batch_size=batch_size)
    )


class BatchReader:
    """Read the same records any number of times with one pipeline; see `read_batches`.

    `census` counts what the last pass has met.

    Args:
        paths: TFRecord files, local or of TensorFlow's file layer.
        features: Which features to read, and at which level.
        num_classes: C; a label at or above it is an error.
        batch_size: B.
        cut_at_files: End a batch where a file ends, so that the batches of a file do not depend on
            which other files are read.
        keep_bytes: Leave frames as they are recorded, a quarter of the memory.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        features: FeatureSpec,
        num_classes: int,
        batch_size: int,
        cut_at_files: bool = False,
        keep_bytes: bool = False,
    ) -> None:
        self._paths, self._features, self._num_classes = list(paths), features, num_classes
        self.census = Census(self._paths, features, num_classes)

        def tagged(path: tf.Tensor, shard: tf.Tensor) -> tf.data.Dataset:
            tag = tf.data.Dataset.from_tensors(shard).repeat()
            records = tf.data.Dataset.zip((_records(path), tag))
            return records.batch(batch_size) if cut_at_files else records

        # One file after the other keeps the order; parsing takes the time, and runs in parallel.
        records = tf.data.Dataset.from_tensor_slices(
            (self._paths, np.arange(len(self._paths), dtype=np.int32))
        ).flat_map(tagged)
        batches = records if cut_at_files else records.batch(batch_size)
        self._dataset = (
            batches.map(
                lambda serialized, shards: {
                    **parse_records(
                        serialized,
                        features=features,
                        num_classes=num_classes,
                        keep_bytes=keep_bytes,
                        for_census=True,
                    ),
                    "shards": shards,
                    "sizes": tf.strings.length(serialized),
                },
                num_parallel_calls=_PARSERS,
                deterministic=True,
            )
            .prefetch(1)
            .with_options(_OPTIONS)
        )

    @cached_property
    def estimated_videos(self) -> int | None:
        """About how many videos a pass reads; `None` if the files do not tell."""
        return estimate_num_records(self._paths)

    def __iter__(self) -> Iterator[Batch]:
        """Read from the first record on.

        Yields:
            The batches.

        Raises:
            DataError: At the first bad record; carries `path` and `index` (from 0).
        """
        reached = 0
        read = _BytesRead(self._paths)
        self.census = Census(self._paths, self._features, self._num_classes)
        try:
            for fields in self._dataset.as_numpy_iterator():
                read.add(fields["shards"], fields.pop("sizes"))
                reached = int(fields["shards"][-1])
                self.census.add(fields)
                yield Batch(
                    fields["video_ids"].astype(np.bytes_),
                    *(fields[name] for name in ("features", "num_frames", "labels", "shards")),
                )
        except READ_ERRORS as error:
            check_records(
                self._paths[reached:], features=self._features, num_classes=self._num_classes
            )
            path = self._paths[reached]
            msg = f"Cannot read '{path}' or a file after it: {error}"
            raise DataError(msg, path=path) from error
        read.check(len(self._paths))
        self.census.finish()


class _BytesRead:
    """Compare what was read of each file with its size; see `check_size`."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._bytes = np.zeros(len(paths), np.int64)
        self._records = np.zeros(len(paths), np.int64)
        self._checked = 0

    def add(self, shards: NDArray[np.int32], sizes: NDArray[np.int32]) -> None:
        """Count a batch, and check the files that it has left behind."""
        np.add.at(self._bytes, shards, sizes + RECORD_OVERHEAD)
        np.add.at(self._records, shards, 1)
        self.check(int(shards[0]))

    def check(self, end: int) -> None:
        """Check the files before `end`.

        Raises:
            DataError: If one holds more bytes than its whole records take.
        """
        for shard in range(self._checked, end):
            check_size(
                self._paths[shard],
                num_records=int(self._records[shard]),
                num_bytes=int(self._bytes[shard]),
            )
        self._checked = max(self._checked, end)


def read_serialized(paths: Sequence[str]) -> Iterator[bytes]:
    """Yield records as they are, files in the order given.

    Yields:
        Serialized records.
    """
    yield from tf.data.TFRecordDataset(list(paths)).as_numpy_iterator()


def survey_records(
    paths: Sequence[str], *, features: FeatureSpec, num_classes: int, max_videos: int = 512
) -> tuple[str, ...]:
    """Read the first videos of some files for what a long run over all of them should not hide.

    Args:
        paths: TFRecord files; those of no bytes, as far as they are local, are counted and skipped.
        features: Which features are read, and at which level.
        num_classes: C.
        max_videos: Videos to read.

    Returns:
        What to tell the user; see `Census`.

    Raises:
        DataError: If one of these videos is bad, or no file holds a byte.
    """
    empty = [path for path in paths if not files.is_remote(path) and not files.size(path)]
    filled = [path for path in paths if path not in set(empty)]
    if not filled:
        msg = f"None of the {len(paths)} record files holds a record, the first is '{paths[0]}'."
        raise DataError(msg, path=paths[0])
    reader = BatchReader(
        filled, features=features, num_classes=num_classes, batch_size=32, keep_bytes=True
    )
    for _ in reader:
        if reader.census.num_videos >= max_videos:
            break
    first = f"Of the first {reader.census.num_videos:,} videos: "
    found = [first + warning for warning in reader.census.warnings]
    return (*describe_empty(empty, len(paths)), *found)


def training_dataset(
    paths: Sequence[str],
    *,
    features: FeatureSpec,
    num_classes: int,
    batch_size: int,
    num_epochs: int | None,
    seed: int,
    skip_batches: int = 0,
) -> tf.data.Dataset:
    """Make a shuffled dataset whose order depends on its arguments alone.

    Files are shuffled anew each epoch and read several at a time; records are shuffled in a buffer
    of at most 128 MB. Batches run over the end of an epoch; only the very last may be smaller.
    Frames stay bytes, a quarter of the memory: a step dequantises the few that it draws.
    Iterate inside `explained_errors`, which names the record behind a TensorFlow error. A file that
    ends inside a record's header is such an error if it is local; a remote one is read up to there.

    Args:
        paths: TFRecord files.
        features: Which features to read, and at which level.
        num_classes: C; a label at or above it is an error.
        batch_size: B.
        num_epochs: Passes over the records; `None` repeats for ever.
        seed: Seed of the order; TensorFlow mixes its global seed in where one is set.
        skip_batches: Batches to leave out at the start, unparsed: where a resumed run goes on.

    Returns:
        A dataset of dicts: `video_ids` (B,) string, `features` (B, F) float32 or, at frame level,
        (B, T, F) uint8 as recorded and padded with zero bytes, `num_frames` (B,) int32, `labels`
        (B, C) float32.
    """

    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        fields = parse_records(
            serialized, features=features, num_classes=num_classes, keep_bytes=True
        )
        return {**fields, "labels": tf.cast(fields["labels"], tf.float32)}

    at_once = min(8, len(paths))
    frames = _FRAMES_GUESS if features.frame_level else 4  # a video-level value takes four bytes
    buffer = min(_MAX_SHUFFLE, max(_SHUFFLE_BYTES // (frames * features.total_size), 64))
    return (
        tf.data.Dataset.from_tensor_slices(list(paths))
        .shuffle(len(paths), seed=seed, reshuffle_each_iteration=True)
        .interleave(
            lambda path: _records(path).concatenate(_check_of_end(path)),
            cycle_length=at_once,
            block_length=4,
            num_parallel_calls=min(_PARSERS, at_once),
            deterministic=True,
        )
        .shuffle(buffer, seed=seed, reshuffle_each_iteration=True)
        .repeat(num_epochs)
        .batch(batch_size)
        .skip(skip_batches)
        .map(parse, num_parallel_calls=_PARSERS, deterministic=True)
        .prefetch(2)
        .with_options(_OPTIONS)
    )


def fetch_ahead(dataset: tf.data.Dataset) -> Iterator[dict[str, tf.Tensor]]:
    """Take each element of a dataset while the caller still uses the one before.

    Taking one from Python costs half a millisecond, which a short step would wait for.

    Args:
        dataset: Of dicts.

    Yields:
        Its elements, in order; what reading raises is raised where the element would come.
    """
    elements = iter(dataset)
    with ThreadPoolExecutor(1, "fetch") as pool:
        following = pool.submit(next, elements, None)
        while (element := following.result()) is not None:
            following = pool.submit(next, elements, None)
            yield element


def _records(path: tf.Tensor) -> tf.data.Dataset:
    return tf.data.TFRecordDataset(path, buffer_size=_READ_BUFFER)


def _check_of_end(path: tf.Tensor) -> tf.data.Dataset:
    """Return an empty dataset that fails if a file, just read, ends inside a record's header.

    Counting bytes in the pipeline costs several times what reading a video-level record does.
    """

    def check(path: tf.Tensor) -> tf.Tensor:
        whole = tf.numpy_function(_ends_with_a_record, [path], tf.bool)
        with tf.control_dependencies([tf.debugging.assert_equal(whole, True, "cut short")]):
            return tf.constant(False)

    return tf.data.Dataset.from_tensors(path).filter(check)


def _ends_with_a_record(path: bytes) -> bool:
    """Return whether a file's last record is followed by its end, by a walk over the lengths.

    They may be trusted: TensorFlow has compared them with their checksums. A file that is not local
    is believed, as seeking in it is slow.
    """
    name = os.fsdecode(path)
    if files.is_remote(name):
        return True
    size, position = files.size(name), 0
    with files.open_binary(name) as file:
        while size - position >= RECORD_OVERHEAD:
            length = os.pread(file.fileno(), 8, position)
            position += int.from_bytes(length, "little") + RECORD_OVERHEAD
    return position == size
