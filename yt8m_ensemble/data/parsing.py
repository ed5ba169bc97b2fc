"""Serialized records to tensors, a whole batch at once. Graph code: it runs inside datasets.

A record that does not fit makes an operation fail; `diagnosis` then says which record and why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from yt8m_ensemble.constants import DEQUANTIZE_BIAS, DEQUANTIZE_SCALE

if TYPE_CHECKING:
    from yt8m_ensemble.values import FeatureSpec

SEGMENT_KEY = "segment_labels"
"""Labels of segments, in the records of 2019."""

READ_ERRORS = (tf.errors.OpError, UnicodeDecodeError)
"""What reading raises; TensorFlow quotes bytes of a bad record that Python may fail to decode."""


def parse_records(
    serialized: tf.Tensor,
    *,
    features: FeatureSpec,
    num_classes: int,
    keep_bytes: bool = False,
    for_census: bool = False,
) -> dict[str, tf.Tensor]:
    """Parse a batch of serialized records; runs inside a dataset.

    Args:
        serialized: Shape `(B,)`, string tensor.
        features: Which features to read, and at which level.
        num_classes: C.
        keep_bytes: Leave frames as the uint8 that they are recorded in, padded with zero bytes.
        for_census: Also return what a `Census` counts: `is_cut` and `has_segments`, `(B,)` bool.

    Returns:
        Tensors by the names of `Batch`'s fields, without `shards`; a record that does not fit
        makes the operations fail at run time.
    """
    context = {
        "id": tf.io.FixedLenFeature([], tf.string, ""),
        "video_id": tf.io.FixedLenFeature([], tf.string, ""),
        "labels": tf.io.VarLenFeature(tf.int64),
        **({SEGMENT_KEY: tf.io.VarLenFeature(tf.int64)} if for_census else {}),
    }
    if features.frame_level:
        parsed, vectors, lengths = _parse_frames(serialized, context, features, keep_bytes)
    else:
        parsed, vectors, lengths = _parse_means(serialized, context, features)
    num_frames = tf.minimum(lengths, features.max_frames)
    video_ids = tf.where(parsed["id"] != "", parsed["id"], parsed["video_id"])
    labels = parsed["labels"]
    positions = tf.stack([labels.indices[:, 0], labels.values], axis=1)
    shape = tf.stack([tf.shape(serialized, tf.int64)[0], num_classes])
    with tf.control_dependencies(
        [
            tf.debugging.assert_greater(tf.strings.length(video_ids), 0, "no id"),
            tf.debugging.assert_greater(num_frames, 0, "no frames"),
            tf.debugging.assert_non_negative(labels.values, "label below 0"),
            tf.debugging.assert_less(labels.values, shape[1], "label too large"),
        ]
    ):
        dense = tf.tensor_scatter_nd_update(
            tf.zeros(shape, tf.bool), positions, tf.ones_like(labels.values, tf.bool)
        )
    counted = {}
    if for_census:
        segmented = parsed[SEGMENT_KEY].indices[:, :1]
        none = tf.zeros_like(lengths, tf.bool)
        all_of_them = tf.ones_like(segmented[:, 0], tf.bool)
        counted = {
            "is_cut": lengths > num_frames,
            "has_segments": tf.tensor_scatter_nd_update(none, segmented, all_of_them),
        }
    return {
        "video_ids": video_ids,
        "features": vectors,
        "num_frames": num_frames,
        "labels": tf.ensure_shape(dense, [None, num_classes]),
        **counted,
    }


def _parse_means(
    serialized: tf.Tensor, context: dict[str, object], features: FeatureSpec
) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
    spec = {
        name: tf.io.FixedLenFeature([size], tf.float32)
        for name, size in zip(features.names, features.sizes, strict=True)
    }
    parsed = tf.io.parse_example(serialized, context | spec)
    vectors = tf.concat([parsed[name] for name in features.names], axis=1)
    # A sum is finite only if all its terms are; looking at each takes ten times as long.
    finite = tf.debugging.assert_equal(tf.math.is_finite(tf.reduce_sum(vectors, axis=1)), True)
    with tf.control_dependencies([finite]):
        return parsed, tf.identity(vectors), tf.ones_like(serialized, tf.int32)


def _parse_frames(
    serialized: tf.Tensor, context: dict[str, object], features: FeatureSpec, keep_bytes: bool
) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
    # All frames of the batch are handled as one list; padding comes last, in one copy.
    parsed, frames, _ = tf.io.parse_sequence_example(
        serialized, context, {name: tf.io.RaggedFeature(tf.string) for name in features.names}
    )
    lengths = [frames[name].row_lengths() for name in features.names]
    checks = [tf.debugging.assert_equal(lengths[0], other) for other in lengths[1:]]
    quantized = []
    for name, size in zip(features.names, features.sizes, strict=True):
        values = frames[name].values  # by frame, and in each the one string that it should hold
        checks.append(tf.debugging.assert_equal(values.row_lengths(), 1))
        rows = tf.io.decode_raw(values.values, tf.uint8)
        quantized.append(tf.ensure_shape(rows, [None, size]))
    with tf.control_dependencies(checks):
        vectors = tf.concat(quantized, axis=1)
    if not keep_bytes:
        # One fused pass of the same arithmetic as q * DEQUANTIZE_SCALE + DEQUANTIZE_BIAS.
        vectors = tf.quantization.dequantize(
            tf.bitcast(vectors, tf.quint8),
            DEQUANTIZE_BIAS,
            DEQUANTIZE_BIAS + 255 * DEQUANTIZE_SCALE,
            mode="MIN_COMBINED",
        )
    rows = tf.RaggedTensor.from_row_lengths(vectors, lengths[0], validate=False)
    shape = [None, features.max_frames, features.total_size]
    return (
        parsed,
        tf.ensure_shape(rows.to_tensor(shape=shape), shape),
        tf.cast(lengths[0], tf.int32),
    )
