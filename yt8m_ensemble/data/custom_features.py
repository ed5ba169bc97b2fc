"""Features that others extracted: npz, parquet, MediaPipe's YouTube-8M graph. Video by video.

A **npz** holds `video_ids (N,)`; labels as a bool matrix `labels (N, C)`, or as compressed rows
`labels_indptr (N + 1,)` with `labels_class_ids`, or none; and one array a feature: `(N, F)` at
video level, or all frames `(sum of T, F)` with `frames_indptr (N + 1,)` at frame level. It is also
what `convert records` writes. A **parquet** table has a row a video: `id`, optionally `labels` (a
list of class ids), and one column a feature: a list of F values, or a list of T such lists.
**MediaPipe** writes one serialized `tf.train.SequenceExample` a video, frames as float lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from yt8m_ensemble.columns import encode_ids, explain_damage, parquet_ids, read_npz, read_parquet
from yt8m_ensemble.errors import DataError
from yt8m_ensemble.files import read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

MEDIAPIPE_FEATURES = {"RGB/feature/floats": "rgb", "AUDIO/feature/floats": "audio"}
"""MediaPipe's names of the frame features, and ours."""

_MEDIAPIPE_IDS = ("id", "video_id", "clip/media_id", "clip/data_path")
_MEDIAPIPE_LABELS = ("labels", "clip/label/index")
_NOT_FEATURES = {"video_ids", "labels", "labels_indptr", "labels_class_ids", "frames_indptr"}
_NOT_FEATURES |= {"num_classes"}


@dataclass(frozen=True)
class CustomVideo:
    """One video of a foreign file.

    Args:
        video_id: Its id.
        labels: Its class ids, as stored; `None` if the file keeps none.
        features: Arrays by name: `(F,)` at video level, `(T, F)` at frame level; floats, or uint8
            for values that are quantised already.
    """

    video_id: bytes
    labels: tuple[int, ...] | None
    features: Mapping[str, NDArray[Any]]


def read_custom_features(path: str) -> Iterator[CustomVideo]:
    """Read a file by its ending: `.npz`, `.parquet`, `.tfrecord`, or one message (`.pb`).

    Args:
        path: The file, local or of TensorFlow's file layer.

    Yields:
        Its videos.

    Raises:
        DataError: If the file does not hold what its ending says; carries `path`.
        EnsembleError: If a package that the format needs is absent.
    """
    suffix = PurePath(path).suffix
    readers = {".npz": _read_npz, ".parquet": _read_parquet, ".tfrecord": _read_mediapipe_records}
    more = (DecodeError, tf.errors.OpError)
    with explain_damage(path, kind=suffix or "MediaPipe", more=more):
        yield from readers.get(suffix, _read_mediapipe)(path)


def _read_npz(path: str) -> Iterator[CustomVideo]:
    held = read_npz(path)
    ids = encode_ids(held.get("video_ids"))
    features = {name: array for name, array in held.items() if name not in _NOT_FEATURES}
    if ids is None or not features:
        msg = (
            f"'{path}' must hold text `video_ids` and at least one feature array; it holds "
            f"{', '.join(f'{name} {array.dtype}' for name, array in sorted(held.items()))}."
        )
        raise DataError(msg, path=path, found=tuple(held))
    bounds = held.get("frames_indptr", np.arange(len(ids) + 1))
    if len(bounds) != len(ids) + 1 or bounds[0] != 0 or np.any(np.diff(bounds) < 0):
        msg = f"`frames_indptr` in '{path}' must rise from 0 in {len(ids) + 1} steps."
        raise DataError(msg, path=path, shape=bounds.shape)
    for name, array in features.items():
        if array.ndim != 2 or len(array) != bounds[-1]:  # noqa: PLR2004 - rows of vectors
            msg = (
                f"'{name}' in '{path}' has shape {array.shape}, expected ({bounds[-1]}, values). "
                "Frames of all videos lie behind each other, bounded by `frames_indptr`."
            )
            raise DataError(msg, path=path, feature=name, shape=array.shape)
    labels = _npz_labels(path, held, ids)
    for n, video_id in enumerate(ids.tolist()):
        part = slice(int(bounds[n]), int(bounds[n + 1])) if "frames_indptr" in held else n
        videos = {name: array[part] for name, array in features.items()}
        yield CustomVideo(video_id, labels[n] if labels else None, videos)


def _npz_labels(
    path: str, held: Mapping[str, NDArray[Any]], ids: NDArray[np.bytes_]
) -> list[tuple[int, ...]] | None:
    if "labels" in held:
        if held["labels"].dtype != np.bool_ or held["labels"].shape[:1] != ids.shape:
            msg = (
                f"`labels` in '{path}' is {held['labels'].dtype} of shape "
                f"{held['labels'].shape}, expected bool of shape ({len(ids)}, classes)."
            )
            raise DataError(msg, path=path, shape=held["labels"].shape)
        return [tuple(np.flatnonzero(row).tolist()) for row in held["labels"]]
    if "labels_indptr" not in held or "labels_class_ids" not in held:
        return None
    class_ids = held["labels_class_ids"].tolist()
    return [tuple(class_ids[a:b]) for a, b in pairwise(held["labels_indptr"].tolist())]


def _read_parquet(path: str) -> Iterator[CustomVideo]:
    for columns in read_parquet(path):
        yield from _parquet_videos(path, columns)


def _parquet_videos(path: str, columns: dict[str, Any]) -> Iterator[CustomVideo]:
    names = tuple(columns)
    ids = columns.pop("id", None)
    labels = columns.pop("labels", None)
    if ids is None or not columns:
        msg = (
            f"'{path}' must have a column `id` and one for each feature; "
            f"its columns are {', '.join(names)}."
        )
        raise DataError(msg, path=path, found=names)
    for n, video_id in enumerate(parquet_ids(ids, path=path, name="id")):
        features = {name: _parquet_value(path, name, column[n]) for name, column in columns.items()}
        classes = None if labels is None else tuple(labels[n].as_py() or ())
        yield CustomVideo(video_id, classes, features)


def _parquet_value(path: str, name: str, value: Any) -> NDArray[Any]:
    # A list of numbers, or a list of frames that are lists of one length; a null has no values.
    values: Any = getattr(value, "values", None)
    if not hasattr(values, "value_lengths"):
        array = np.asarray(values)
    elif len(values.value_lengths().unique()) == 1:
        array = np.asarray(values.flatten()).reshape(len(values), -1)
    else:
        array = np.array(None)
    if array.ndim == 0 or array.dtype.kind not in "fiu":
        msg = f"Column '{name}' of '{path}' holds no list of numbers, nor frames of one length."
        raise DataError(msg, path=path, feature=name)
    return array


def _read_mediapipe_records(path: str) -> Iterator[CustomVideo]:
    for serialized in tf.data.TFRecordDataset(path).as_numpy_iterator():
        yield _parse_mediapipe(path, serialized)


def _read_mediapipe(path: str) -> Iterator[CustomVideo]:
    yield _parse_mediapipe(path, read_bytes(path))


def _parse_mediapipe(path: str, serialized: bytes) -> CustomVideo:
    record = tf.train.SequenceExample.FromString(serialized)
    context, lists = record.context.feature, record.feature_lists.feature_list
    features = {}
    for theirs, ours in MEDIAPIPE_FEATURES.items():
        if theirs in lists:
            frames = [feature.float_list.value for feature in lists[theirs].feature]
            if len({len(frame) for frame in frames}) != 1:
                msg = (
                    f"'{theirs}' in '{path}' must hold one float list of equal length a frame. "
                    "Run MediaPipe's feature extraction again."
                )
                raise DataError(msg, path=path, feature=theirs)
            features[ours] = np.array(frames, np.float32)
    if not features:
        msg = (
            f"'{path}' holds none of MediaPipe's features {', '.join(MEDIAPIPE_FEATURES)}; it "
            f"holds {', '.join(sorted(lists)) or 'no frames'}."
        )
        raise DataError(msg, path=path, found=tuple(sorted(lists)))
    ids = [context[key].bytes_list.value for key in _MEDIAPIPE_IDS if key in context]
    # MediaPipe keeps the video's path, or nothing: a file of one video is named after it then.
    name = next((values[0].decode() for values in ids if values), path)
    labels = [context[key].int64_list.value for key in _MEDIAPIPE_LABELS if key in context]
    return CustomVideo(PurePath(name).stem.encode(), tuple(labels[0]) if labels else None, features)
