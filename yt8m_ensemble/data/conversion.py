"""Records and predictions of others, a video at a time. Writes no file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from yt8m_ensemble.constants import MAX_FRAMES
from yt8m_ensemble.data.census import few_classes
from yt8m_ensemble.data.ground_truth import read_ground_truth_csv
from yt8m_ensemble.data.quantization import dequantize, quantize
from yt8m_ensemble.data.reading import BatchReader
from yt8m_ensemble.data.synthesis import BYTE_RANGE
from yt8m_ensemble.data.writing import encode_frames, encode_means
from yt8m_ensemble.decoding import convert_json, decode_json
from yt8m_ensemble.errors import DataError
from yt8m_ensemble.values import csv_field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.data.census import Census
    from yt8m_ensemble.data.custom_features import CustomVideo
    from yt8m_ensemble.values import FeatureSpec, Progress

MAX_FRAME_DIFFERENCE = 2
"""Frames by which features of a video may differ in length: sound ends a second early or late."""

_READ_BATCH = 64
_FLOAT_KINDS = "fiu"


def collect_arrays(
    paths: Sequence[str], spec: FeatureSpec, num_classes: int, progress: Progress
) -> tuple[dict[str, NDArray[Any]], Census]:
    """Read records into the arrays of one npz file, as `read_custom_features` describes it.

    Args:
        paths: Record files.
        spec: Features to keep.
        num_classes: Classes in all.
        progress: Called with the number of videos read.

    Returns:
        Arrays by their names in the file, and what was met.
    """
    ids, lengths, counts, classes = [], [], [], []
    vectors: list[NDArray[Any]] = []
    reader = BatchReader(paths, features=spec, num_classes=num_classes, batch_size=_READ_BATCH)
    for batch in reader:
        ids.append(batch.video_ids)
        lengths.append(batch.num_frames)
        counts.append(batch.labels.sum(axis=1))
        classes.append(np.nonzero(batch.labels)[1])
        if spec.frame_level:
            real = np.arange(spec.max_frames) < batch.num_frames[:, np.newaxis]
            vectors.append(quantize(batch.features[real]))
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
    return arrays | dict(zip(spec.names, columns, strict=True)), reader.census


def _indptr(counts: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.concatenate(counts), dtype=np.int64)])


class RecordEncoder:
    """Turn videos into records, all with the features of the first, and count what is cut."""

    def __init__(
        self,
        num_classes: int,
        truth: Mapping[bytes, tuple[int, ...]] | None,
        *,
        scale: float = 1.0,
    ) -> None:
        self._num_classes, self._truth = num_classes, truth
        self._scale = scale
        self._by_class = np.zeros(num_classes, np.int64)
        self.sizes: dict[str, int] = {}
        self.frame_level = False
        self.videos = self.clipped = self.values = self.cut = self.long = 0
        self.largest = 0.0

    def encode(self, path: str, video: CustomVideo) -> bytes:
        """Encode one video as a record.

        Args:
            path: Its file, for messages.
            video: Its id, labels and features.

        Returns:
            The serialized `Example` or `SequenceExample`.

        Raises:
            DataError: If it lacks labels, or its features cannot be those of a video.
        """
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
        self._by_class[list(set(labels))] += 1
        if not self.frame_level:
            means = {key: self._scaled(values) for key, values in video.features.items()}
            return encode_means(video.video_id, labels, means)
        frames = min(map(len, video.features.values()))
        self.cut += sum(len(values) - frames for values in video.features.values())
        self.long += frames > MAX_FRAMES
        quantized = {key: self._quantize(v[:frames]) for key, v in video.features.items()}
        return encode_frames(video.video_id, labels, quantized)

    def _quantize(self, frames: NDArray[Any]) -> NDArray[np.uint8]:
        if frames.dtype == np.uint8 and self._scale == 1:
            return frames
        scaled = self._scaled(frames)
        low, high = BYTE_RANGE
        self.values += scaled.size
        self.clipped += int(np.count_nonzero((scaled < low) | (scaled > high)))
        self.largest = max(self.largest, float(np.abs(scaled).max(initial=0)))
        return quantize(scaled)

    def _scaled(self, values: NDArray[Any]) -> NDArray[np.floating]:
        floats = _as_floats(values)
        return floats if self._scale == 1 else floats * np.float32(self._scale)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to tell the user, a sentence or two each."""
        found = []
        if self.long:
            found.append(
                f"{self.long:,} of {self.videos:,} videos have more than {MAX_FRAMES} frames; all "
                f"are written, but models read the first {MAX_FRAMES}."
            )
        if self.clipped:
            # A fit leaves room for the step between bytes.
            fit = self._scale * float(BYTE_RANGE[1]) / self.largest
            found.append(
                f"{self.clipped:,} of {self.values:,} values lie outside {BYTE_RANGE[0]:.3g} to "
                f"{BYTE_RANGE[1]:.3g}, which bytes stand for, and were clipped; the largest is "
                f"{self.largest:.4g}. `--scale {_round_down(fit):g}` makes all fit."
            )
        if (few := few_classes(self._by_class, self._num_classes)) is not None:
            found.append(few)
        return tuple(found)

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


def _round_down(value: float) -> float:
    """Return a number cut to two digits, so that what it scales fits.

    Examples:
        >>> _round_down(0.06789), _round_down(2.0)
        (0.067, 2.0)
    """
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.floor(value / unit + 1e-9) * unit, 12)


def _as_floats(values: NDArray[Any]) -> NDArray[np.floating]:
    return dequantize(values) if values.dtype == np.uint8 else values


def labels_by_id(path: str, num_classes: int) -> dict[bytes, tuple[int, ...]]:
    """Read a ground-truth CSV as the classes of each video id.

    Args:
        path: The CSV file.
        num_classes: Classes in all.

    Returns:
        Class ids by video id.
    """
    truth = read_ground_truth_csv(path, num_classes=num_classes)
    rows = np.split(truth.class_ids, truth.indptr[1:-1])
    pairs = zip(truth.video_ids.tolist(), rows, strict=False)
    return {video_id: tuple(row.tolist()) for video_id, row in pairs}


class _CloudPrediction(msgspec.Struct):
    """One line of a batch prediction."""

    video_id: str
    class_indexes: list[int]
    predictions: list[float]


def parse_cloud_prediction(line: str, path: str, number: int, top_k: int) -> tuple[str, str]:
    """Parse one line of a Google Cloud batch prediction.

    Args:
        line: The JSON text.
        path: Its file, for messages.
        number: Its number in the file, from 1.
        top_k: Pairs to keep.

    Returns:
        The video id and its row of a submission CSV.

    Raises:
        DataError: If the line is no prediction, or a confidence is not finite.
    """
    expected = "Expected JSON with video_id and equally many class_indexes and predictions."
    try:
        answer = decode_json(line, dict[str, Any], path=path, error=DataError, advice="")
        if isinstance(answer.get("video_id"), list):
            answer = {k: v[0] for k, v in answer.items() if isinstance(v, list) and v}
        found = convert_json(answer, _CloudPrediction, path=path, error=DataError, advice="")
    except DataError as error:
        msg = f"Line {number} of '{path}' is no prediction: {error.details['reason']}. {expected}"
        raise DataError(msg, path=path, line=number) from error
    classes, scores = found.class_indexes, found.predictions
    if len(classes) != len(scores) or min(classes, default=0) < 0:
        msg = f"Line {number} of '{path}' pairs no classes with confidences. {expected}"
        raise DataError(msg, path=path, line=number)
    video_id = found.video_id
    pairs = [(-p, c) for c, p in zip(classes, scores, strict=True)]
    if not all(math.isfinite(score) for score, _ in pairs):
        msg = f"Line {number} of '{path}' holds a confidence that is not finite. Predict it again."
        raise DataError(msg, path=path, line=number)
    ranked = " ".join(f"{c} {-score:g}" for score, c in sorted(pairs)[:top_k])
    return video_id, f"{csv_field(video_id)},{ranked}\n"
