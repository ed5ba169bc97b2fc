"""Videos to serialized records of either level, and those to TFRecord files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

_VARINT_MORE = 0x80  # set in a byte of a varint when another follows
_LENGTH_DELIMITED = 2  # wire type of protocol buffers for strings and messages


def encode_means(
    video_id: bytes, labels: Sequence[int], means: Mapping[str, NDArray[np.floating]]
) -> bytes:
    """Serialize a video-level record.

    Args:
        video_id: Stored under `id`.
        labels: Class ids; may be empty.
        means: Mean feature vectors by name, each of shape `(F,)`; stored as float32.

    Returns:
        A `tf.train.Example`; the same bytes for the same input.
    """
    feature = _context(video_id, labels)
    for name, values in means.items():
        feature[name] = tf.train.Feature(float_list=tf.train.FloatList(value=values))
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return bytes(example.SerializeToString(deterministic=True))


def encode_frames(
    video_id: bytes, labels: Sequence[int], frames: Mapping[str, NDArray[np.uint8]]
) -> bytes:
    """Serialize a frame-level record.

    Args:
        video_id: Stored under `id`.
        labels: Class ids; may be empty.
        frames: Quantised features by name, each of shape `(T, F)`.

    Returns:
        A `tf.train.SequenceExample`; the same bytes for the same input.
    """
    context = tf.train.SequenceExample(
        context=tf.train.Features(feature=_context(video_id, labels))
    ).SerializeToString(deterministic=True)
    # Frames are encoded as one array: a message object for each would take most of the time.
    entries = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, _encode_feature_list(values)))
        for name, values in sorted(frames.items())
    )
    return bytes(context) + _field(2, entries)


def write_records(path: str, records: Iterable[bytes]) -> int:
    """Write a TFRecord file.

    Args:
        path: The file, local or of TensorFlow's file layer.
        records: Serialized records.

    Returns:
        How many were written.
    """
    count = 0
    with tf.io.TFRecordWriter(path) as writer:
        for record in records:
            writer.write(record)
            count += 1
    return count


def _context(video_id: bytes, labels: Sequence[int]) -> dict[str, tf.train.Feature]:
    return {
        "id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[video_id])),
        "labels": tf.train.Feature(int64_list=tf.train.Int64List(value=labels)),
    }


def _encode_feature_list(frames: NDArray[np.uint8]) -> bytes:
    # FeatureList { feature { bytes_list { value: frame } } … }, all frames at once.
    num_frames, size = frames.shape
    whole = _field(1, _field(1, _field(1, bytes(size))))
    head = np.frombuffer(whole[: len(whole) - size], np.uint8)
    return np.hstack([np.broadcast_to(head, (num_frames, len(head))), frames]).tobytes()


def _field(number: int, payload: bytes) -> bytes:
    # A length-delimited field: tag, length as a varint of seven bits a byte, payload.
    length, varint = len(payload), bytearray()
    while length >= _VARINT_MORE:
        varint.append(length % _VARINT_MORE | _VARINT_MORE)
        length >>= 7
    varint.append(length)
    return bytes([number << 3 | _LENGTH_DELIMITED]) + bytes(varint) + payload
