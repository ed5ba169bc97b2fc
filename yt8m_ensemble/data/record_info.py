"""What one record says of itself, read with protocol buffers alone: level, features, labels, id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from yt8m_ensemble.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

ID_KEYS = ("id", "video_id")
"""Names of the id in records of 2018 on and of 2017."""

LABELS_KEY = "labels"

_BATCH = 1024


@dataclass(frozen=True)
class RecordInfo:
    """Level, features and labels of a record.

    Args:
        frame_level: Whether it is a `tf.train.SequenceExample` with frames.
        sizes: Values of each feature vector by name; of the first frame at frame level.
        num_frames: Frames of each feature by name; 1 at video level.
        id_key: Name of its id; empty if it has none.
        video_id: The id; empty if it has none.
        labels: Its labels as stored; empty if it has none.
        labels_kind: How they are stored, `int64_list` if rightly; empty if there are none.
    """

    frame_level: bool
    sizes: Mapping[str, int]
    num_frames: Mapping[str, int]
    id_key: str
    video_id: bytes
    labels: tuple[int, ...]
    labels_kind: str

    @property
    def level(self) -> str:
        """`frame` or `video`."""
        return "frame" if self.frame_level else "video"


def read_record_info(path: str) -> RecordInfo:
    """Describe the first record of a file, to tell its level and feature sizes.

    Returns:
        The description.

    Raises:
        DataError: If the file is absent, empty or unreadable; carries `path` and `index`.
    """
    try:
        for serialized in tf.data.TFRecordDataset(path).take(1).as_numpy_iterator():
            return describe_record(serialized)
    except tf.errors.NotFoundError as error:
        msg = f"No record file at '{path}'. Check the path."
        raise DataError(msg, path=path) from error
    except (tf.errors.OpError, DecodeError) as error:
        msg = (
            f"'{path}' does not start with a whole TFRecord of a `tf.train.Example` or "
            "`SequenceExample`. Fetch or write the file again, uncompressed."
        )
        raise DataError(msg, path=path, index=0) from error
    msg = f"'{path}' holds no record. Leave it out of the glob, or write it again."
    raise DataError(msg, path=path, index=0)


def read_video_ids(paths: Sequence[str], *, allow_absent: bool = False) -> NDArray[np.bytes_]:
    """Read the ids of all videos of record files, of either level.

    Args:
        paths: The files.
        allow_absent: Return an empty id of a record that has none.

    Returns:
        Shape `(N,)`, bytes, in the order of the records.

    Raises:
        DataError: If a file is damaged, or a record has no id and needs one; carries `path`.
    """
    wanted = {key: tf.io.FixedLenFeature((), tf.string, default_value="") for key in ID_KEYS}
    found: list[NDArray[Any]] = []
    for path in paths:
        try:
            for records in tf.data.TFRecordDataset(path).batch(_BATCH):
                context, *_ = tf.io.parse_sequence_example(records, context_features=wanted)
                pairs = zip(*(context[key].numpy().tolist() for key in ID_KEYS), strict=True)
                ids = [first or second for first, second in pairs]
                found.append(np.array(ids, np.bytes_))
                if not (allow_absent or all(ids)):
                    msg = f"'{path}' holds a record without a video id. Write the file again."
                    raise DataError(msg, path=path)
        except tf.errors.OpError as error:
            msg = f"'{path}' cannot be read as records: {error.message}. Fetch or write it again."
            raise DataError(msg, path=path) from error
    return np.concatenate(found) if found else np.zeros(0, "S1")


def describe_record(serialized: bytes) -> RecordInfo:
    """Describe one serialized record.

    Both messages keep id, labels and video-level features in the same field, so every record parses
    as a `SequenceExample`; frames tell the levels apart.

    Args:
        serialized: The record; protocol buffers raise `DecodeError` if it is neither message.

    Returns:
        The description.
    """
    record = tf.train.SequenceExample.FromString(serialized)
    context, frames = record.context.feature, record.feature_lists.feature_list
    id_key = next((key for key in ID_KEYS if _only_bytes(context, key)), "")
    if frames:
        sizes = {k: _size(v.feature[0]) if v.feature else 0 for k, v in sorted(frames.items())}
        num_frames = {k: len(v.feature) for k, v in sorted(frames.items())}
    else:
        names = sorted(set(context) - {*ID_KEYS, LABELS_KEY})
        sizes = {name: _size(context[name]) for name in names}
        num_frames = dict.fromkeys(names, 1)
    # Looking up a key that is not there would add it.
    labels = context[LABELS_KEY] if LABELS_KEY in context else tf.train.Feature()
    return RecordInfo(
        bool(frames),
        sizes,
        num_frames,
        id_key,
        _only_bytes(context, id_key) if id_key else b"",
        tuple(labels.int64_list.value),
        labels.WhichOneof("kind") or "",
    )


def _only_bytes(context: Mapping[str, tf.train.Feature], key: str) -> bytes:
    values = context[key].bytes_list.value if key in context else []
    return bytes(values[0]) if len(values) == 1 else b""


def _size(feature: tf.train.Feature) -> int:
    # A vector is stored as floats, or as one string of bytes.
    if feature.WhichOneof("kind") == "bytes_list":
        values = feature.bytes_list.value
        return len(values[0]) if len(values) == 1 else 0
    return len(feature.float_list.value)
