"""The steps behind `yt8m-ens convert` that read or write records and predictions of others."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble import data, files
from yt8m_ensemble.errors import DataError
from yt8m_ensemble.facts import NUM_CLASSES_2018, TOP_K
from yt8m_ensemble.inference import SUBMISSION_HEADER
from yt8m_ensemble.values import FeatureSpec, Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

VIDEOS_PER_SHARD = 500
MAX_FRAME_DIFFERENCE = 2
"""Frames by which features of a video may differ in length: sound ends a second early or late."""

_READ_BATCH = 64
_FLOAT_KINDS = "fiu"


@dataclass(frozen=True)
class Converted:
    """Say what a conversion wrote.

    Args:
        out: The file or directory.
        files: Record files in the directory; empty if `out` is a file.
        videos: Videos converted; 0 in a dry run.
        level: `video` or `frame`; empty for predictions.
        feature_sizes: Values of each feature by name; empty for predictions.
        clipped_values: Values that no byte stands for, moved to the end of the range.
        cut_frames: Frames cut because another feature of the video has fewer.
        dry_run: Whether nothing was written.
    """

    out: str
    files: tuple[str, ...] = ()
    videos: int = 0
    level: str = ""
    feature_sizes: Mapping[str, int] = field(default_factory=dict)
    clipped_values: int = 0
    cut_frames: int = 0
    dry_run: bool = False


def convert_predictions(
    *,
    predictions: str,
    out: str,
    top_k: int = TOP_K,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> Converted:
    """Turn the JSON lines of a Google Cloud batch prediction into a submission CSV.

    A line is `{"video_id": …, "class_indexes": […], "predictions": […]}`, each value possibly
    wrapped in a list of one, as the starter code's exported models answer.

    Args:
        predictions: Globs of the result files, comma-separated.
        out: The CSV to write.
        top_k: Pairs a row at most.
        force: Replace `out` if it exists.
        dry_run: Check that the files are there, write nothing.
        progress: Told the videos written.

    Returns:
        What was written: pairs by falling confidence, equal ones by class.

    Raises:
        DataError: If a line is no prediction or repeats a video; carries `path` and `line`.
    """
    paths = files.expand_globs(predictions, option="SOURCE")
    files.check_absent(out, force=force)
    if dry_run:
        return Converted(out, dry_run=True)
    seen: dict[str, str] = {}
    with files.atomic_file(out, force=force) as part, files.open_binary(part, "wb") as file:
        file.write(SUBMISSION_HEADER.encode())
        for path in paths:
            for number, line in enumerate(files.read_text(path).splitlines(), start=1):
                if line.strip():
                    video_id, row = _parse_prediction(line, path, number, top_k)
                    if video_id in seen:
                        place = f"Line {number} of '{path}'"
                        msg = f"{place} repeats video '{video_id}' of {seen[video_id]}."
                        raise DataError(msg, path=path, line=number, video_id=video_id)
                    seen[video_id] = f"line {number} of '{path}'"
                    file.write(row.encode())
                    progress("convert", len(seen), None, unit="videos")
    return Converted(out, videos=len(seen))


def convert_features(
    *,
    features: str,
    out: str,
    labels: str | None = None,
    num_classes: int = NUM_CLASSES_2018,
    prefix: str = "own",
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> Converted:
    """Turn features of one's own into records that every command reads.

    Mean features become video-level records, frames become frame-level ones, quantised to bytes.
    `data.own_features` says which files are understood.

    Args:
        features: Globs of `.npz`, `.parquet`, `.tfrecord` or `.pb` files, comma-separated.
        out: Directory of record files to make, 500 videos each.
        labels: Ground-truth CSV; its labels take the place of the files' own.
        num_classes: Classes in all.
        prefix: Start of the file names.
        force: Replace `out` if it exists.
        dry_run: Check that the files are there, write nothing.
        progress: Told the videos written.

    Returns:
        What was written, and how many values and frames had to be cut.

    Raises:
        DataError: If no file holds a video.
    """
    paths = files.expand_globs(features, option="SOURCE")
    files.check_absent(out, force=force)
    truth = _labels_by_id(labels, num_classes) if labels else None
    if dry_run:
        return Converted(out, dry_run=True)
    encoder = _Encoder(num_classes, truth)
    records = (
        encoder.encode(path, video) for path in paths for video in data.read_own_features(path)
    )
    names: list[str] = []
    with files.atomic_directory(out, force=force) as folder:
        for first in records:
            names.append(f"{prefix}{len(names):04d}.tfrecord")
            shard = chain([first], islice(records, VIDEOS_PER_SHARD - 1))
            data.write_records(f"{folder}/{names[-1]}", shard)
            progress("convert", encoder.videos, None, unit="videos")
        if not names:
            msg = f"'{features}' holds no video. Check the files given as `SOURCE`."
            raise DataError(msg, pattern=features)
    return Converted(
        out,
        tuple(names),
        encoder.videos,
        "frame" if encoder.frame_level else "video",
        encoder.sizes,
        encoder.clipped,
        encoder.cut,
    )


def convert_records(
    *,
    records: str,
    out: str,
    num_classes: int = NUM_CLASSES_2018,
    feature_names: Sequence[str] = (),
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> Converted:
    """Turn records into one npz file, which `convert_features` turns back into the same records.

    Level and sizes are read from the first record. All videos are held in memory; frames past 300
    are cut, as everywhere.

    Args:
        records: Globs of record files, comma-separated.
        out: The npz to write; `data.own_features` describes it.
        num_classes: Classes in all.
        feature_names: Features to keep (default: all).
        force: Replace `out` if it exists.
        dry_run: Check the first record, write nothing.
        progress: Told the videos read.

    Returns:
        What was written.
    """
    paths = files.expand_globs(records, option="SOURCE")
    files.check_absent(out, force=force)
    info = data.peek_record(paths[0])
    names = tuple(feature_names) or tuple(info.sizes)
    # A feature that is not there gets a size all the same: the reader says what is wrong.
    sizes = {name: info.sizes.get(name, 1) for name in names}
    spec = FeatureSpec(names, tuple(sizes.values()), frame_level=info.frame_level)
    videos = 0
    if not dry_run:
        arrays = _collect(paths, spec, num_classes, progress)
        videos = len(arrays["video_ids"])
        with files.atomic_file(out, force=force) as part, files.open_binary(part, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # names, not its options
    return Converted(out, videos=videos, level=info.level, feature_sizes=sizes, dry_run=dry_run)


def _collect(
    paths: Sequence[str], spec: FeatureSpec, num_classes: int, progress: Progress
) -> dict[str, NDArray[Any]]:
    ids, lengths, counts, classes = [], [], [], []
    vectors: list[NDArray[Any]] = []
    for batch in data.read_batches(
        paths, features=spec, num_classes=num_classes, batch_size=_READ_BATCH
    ):
        ids.append(batch.video_ids)
        lengths.append(batch.num_frames)
        counts.append(batch.labels.sum(axis=1))
        classes.append(np.nonzero(batch.labels)[1])
        if spec.frame_level:
            real = np.arange(spec.max_frames) < batch.num_frames[:, np.newaxis]
            vectors.append(data.quantize(batch.features[real]))
        else:
            vectors.append(batch.features)
        progress("convert", sum(map(len, ids)), None, unit="videos")
    arrays: dict[str, NDArray[Any]] = {
        "video_ids": np.concatenate(ids),
        "labels_indptr": _indptr(counts),
        "labels_class_ids": np.concatenate(classes).astype(np.int32),
        "num_classes": np.array(num_classes),
    }
    if spec.frame_level:
        arrays["frames_indptr"] = _indptr(lengths)
    columns = np.split(np.concatenate(vectors), np.cumsum(spec.sizes)[:-1], axis=1)
    return arrays | dict(zip(spec.names, columns, strict=True))


def _indptr(counts: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.concatenate(counts), dtype=np.int64)])


class _Encoder:
    """Turn videos into records, all with the features of the first, and count what is cut."""

    def __init__(self, num_classes: int, truth: Mapping[bytes, tuple[int, ...]] | None) -> None:
        self._num_classes, self._truth = num_classes, truth
        self.sizes: dict[str, int] = {}
        self.frame_level = False
        self.videos = self.clipped = self.cut = 0

    def encode(self, path: str, video: data.OwnVideo) -> bytes:
        name = video.video_id.decode(errors="replace")
        self._check_features(path, name, video.features)
        labels = video.labels or ()
        if self._truth is not None:
            if video.video_id not in self._truth:
                msg = f"Video '{name}' of '{path}' has no line in the file given to `--labels`."
                raise DataError(msg, path=path, video_id=name)
            labels = self._truth[video.video_id]
        beyond = [label for label in labels if not 0 <= label < self._num_classes]
        if beyond:
            msg = (
                f"Video '{name}' in '{path}' has label {beyond[0]}, but there are "
                f"{self._num_classes} classes. Set `--num-classes`."
            )
            raise DataError(msg, path=path, video_id=name, label=beyond[0])
        self.videos += 1
        if not self.frame_level:
            means = {key: _as_floats(values) for key, values in video.features.items()}
            return data.encode_means(video.video_id, labels, means)
        frames = min(map(len, video.features.values()))
        self.cut += sum(len(values) - frames for values in video.features.values())
        quantized = {key: self._quantize(v[:frames]) for key, v in video.features.items()}
        return data.encode_frames(video.video_id, labels, quantized)

    def _quantize(self, frames: NDArray[Any]) -> NDArray[np.uint8]:
        if frames.dtype == np.uint8:
            return frames
        low, high = data.BYTE_RANGE
        self.clipped += int(np.count_nonzero((frames < low) | (frames > high)))
        return data.quantize(frames)

    def _check_features(self, path: str, name: str, features: Mapping[str, NDArray[Any]]) -> None:
        frame_level = next(iter(features.values())).ndim == 2  # noqa: PLR2004 - (T, F)
        sizes = {key: values.shape[-1] for key, values in features.items()}
        if not self.videos:
            self.frame_level, self.sizes = frame_level, sizes
        lengths = {len(values) if frame_level else 1 for values in features.values()}
        fault = ""
        if (frame_level, sizes) != (self.frame_level, self.sizes):
            fault = f"has features {sizes}, the videos before it {self.sizes}"
        elif len({values.ndim for values in features.values()}) > 1:
            fault = "mixes mean features and frames"
        elif min(lengths) < 1 or max(lengths) - min(lengths) > MAX_FRAME_DIFFERENCE:
            fault = f"has features of {min(lengths)} to {max(lengths)} frames"
        elif not all(values.size for values in features.values()):
            fault = "has a feature without values"
        elif not all(values.dtype.kind in _FLOAT_KINDS for values in features.values()):
            fault = "has a feature that is no number"
        elif not all(np.isfinite(values).all() for values in features.values()):
            fault = "has a nan or infinite value"
        if fault:
            msg = (
                f"Video '{name}' in '{path}' {fault}. Extract its features again, or leave it out."
            )
            raise DataError(msg, path=path, video_id=name)


def _as_floats(values: NDArray[Any]) -> NDArray[np.floating]:
    return data.dequantize(values) if values.dtype == np.uint8 else values


def _labels_by_id(path: str, num_classes: int) -> dict[bytes, tuple[int, ...]]:
    truth = data.read_ground_truth_csv(path, num_classes=num_classes)
    rows = np.split(truth.class_ids, truth.indptr[1:-1])
    pairs = zip(truth.video_ids.tolist(), rows, strict=False)
    return {video_id: tuple(row.tolist()) for video_id, row in pairs}


def _parse_prediction(line: str, path: str, number: int, top_k: int) -> tuple[str, str]:
    try:
        answer = json.loads(line)
        video_id, classes, scores = (
            answer[key] for key in ("video_id", "class_indexes", "predictions")
        )
        if isinstance(video_id, list):
            video_id, classes, scores = video_id[0], classes[0], scores[0]
        pairs = [(-float(p), int(c)) for c, p in zip(classes, scores, strict=True)]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        msg = (
            f"Line {number} of '{path}' is no prediction ({type(error).__name__}: {error}). "
            "Expected JSON with video_id and equally many class_indexes and predictions."
        )
        raise DataError(msg, path=path, line=number) from error
    if not all(math.isfinite(score) for score, _ in pairs):
        msg = f"Line {number} of '{path}' holds a confidence that is not finite. Predict it again."
        raise DataError(msg, path=path, line=number)
    ranked = " ".join(f"{c} {-score:g}" for score, c in sorted(pairs)[:top_k])
    return str(video_id), f"{video_id},{ranked}\n"
