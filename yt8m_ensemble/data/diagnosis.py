"""Find the bad record and the reason: a slow second read, made only after a fast one failed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from yt8m_ensemble import files
from yt8m_ensemble.data.parsing import READ_ERRORS, parse_records
from yt8m_ensemble.data.record_info import RecordInfo, describe_record
from yt8m_ensemble.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yt8m_ensemble.values import FeatureSpec

RECORD_OVERHEAD = 16
"""Bytes of a TFRecord beside its content: length and two checksums."""


@contextmanager
def explained_errors(
    paths: Sequence[str], *, features: FeatureSpec, num_classes: int
) -> Iterator[None]:
    """Turn a TensorFlow error inside the block into one that names the bad record, if there is one.

    Args:
        paths: The files being read.
        features: What is read of them.
        num_classes: Classes in all.

    Yields:
        Nothing; wrap the loop over `training_dataset` in it.

    Raises:
        READ_ERRORS: The error as it was, if every record fits; otherwise see `check_records`.
    """
    try:
        yield
    except READ_ERRORS:
        check_records(paths, features=features, num_classes=num_classes)
        raise


def check_records(paths: Sequence[str], *, features: FeatureSpec, num_classes: int) -> None:
    """Look at every record, file by file, and stop at the first that does not fit.

    Args:
        paths: The files, in the order that they were read.
        features: What each record should hold.
        num_classes: Classes in all.

    Raises:
        DataError: For that record; carries `path`, `index` (from 0), what was found and expected.
    """
    for path in paths:
        index = num_bytes = 0
        try:
            for serialized in tf.data.TFRecordDataset(path).as_numpy_iterator():
                fault = _find_fault(serialized, features=features, num_classes=num_classes)
                if fault is not None:
                    msg = f"Record {index} of '{path}' {fault[0]}"
                    raise DataError(msg, path=path, index=index, **fault[1])
                index += 1
                num_bytes += len(serialized) + RECORD_OVERHEAD
        except tf.errors.NotFoundError as error:
            msg = f"No record file at '{path}'. Check the path."
            raise DataError(msg, path=path) from error
        except tf.errors.OpError as error:
            what = "is cut short" if "truncated" in error.message else "is damaged"
            msg = (
                f"Record {index} of '{path}' {what}, after {index} whole records. "
                "Fetch or write the file again; it must be an uncompressed TFRecord file."
            )
            raise DataError(msg, path=path, index=index) from error
        check_size(path, num_records=index, num_bytes=num_bytes)


def check_size(path: str, *, num_records: int, num_bytes: int) -> None:
    """Compare what was read of a file with its size.

    TensorFlow takes a file that ends inside the 12-byte header of a record for a whole one.

    Args:
        path: The file, read to its end.
        num_records: Records read.
        num_bytes: Bytes that they take in the file.

    Raises:
        DataError: If the file holds more; carries `path` and `index`, that of the cut record.
    """
    rest = files.size(path) - num_bytes
    if rest:
        msg = (
            f"Record {num_records} of '{path}' is cut short, after {num_records} whole records: "
            f"only {rest} bytes of its header are there. Fetch or write the file again."
        )
        raise DataError(msg, path=path, index=num_records)


def _find_fault(
    serialized: bytes, *, features: FeatureSpec, num_classes: int
) -> tuple[str, dict[str, object]] | None:
    # The first thing wrong: the end of a sentence about the record, and its facts.
    try:
        info = describe_record(serialized)
    except DecodeError:
        return "is no `tf.train.Example` or `SequenceExample`. Write the file again.", {}
    if not info.id_key:
        return "has neither an `id` nor a `video_id` of one string. Write the records with one.", {}
    if info.labels_kind not in {"", "int64_list"}:
        kind = info.labels_kind.removesuffix("_list")
        return f"keeps its labels as {kind}, expected whole numbers.", {"found": kind}
    fault = _find_feature_fault(serialized, info, features) or _find_label_fault(info, num_classes)
    return fault or _find_parser_fault(serialized, features, num_classes)


def _find_feature_fault(
    serialized: bytes, info: RecordInfo, features: FeatureSpec
) -> tuple[str, dict[str, object]] | None:
    wanted = "frame" if features.frame_level else "video"
    held = ", ".join(f"{name} ({size})" for name, size in info.sizes.items()) or "none"
    if info.level != wanted:
        return (
            f"is {info.level}-level with features {held}, but {wanted}-level features "
            f"{', '.join(features.names)} are read. Give {wanted}-level records, or train on these "
            f"with `yt8m-ens train --features {info.level}`.",
            {"found": info.level, "expected": wanted},
        )
    for name, size in zip(features.names, features.sizes, strict=True):
        if name not in info.sizes:
            return (
                f"has no feature '{name}'; it holds {held}. Read one of these, as with "
                "`yt8m-ens train --feature-names`, or give other records.",
                {"feature": name, "found": tuple(info.sizes)},
            )
        if info.sizes[name] != size and info.num_frames[name]:
            return (
                f"has {info.sizes[name]} values in feature '{name}', expected {size}. "
                "Write the file again, or train on it with `yt8m-ens train --feature-sizes`.",
                {"feature": name, "found": info.sizes[name], "expected": size},
            )
    find = _find_frame_fault if features.frame_level else _find_value_fault
    return find(serialized, info, features)


def _find_value_fault(
    serialized: bytes, info: RecordInfo, features: FeatureSpec
) -> tuple[str, dict[str, object]] | None:
    del info
    held = tf.train.Example.FromString(serialized).features.feature
    for name in features.names:
        if held[name].WhichOneof("kind") != "float_list":
            return f"keeps feature '{name}' as bytes, expected floats.", {"feature": name}
        if not np.isfinite(held[name].float_list.value).all():
            return (
                f"has a nan or infinite value in feature '{name}'. Write the record again.",
                {"feature": name},
            )
    return None


def _find_frame_fault(
    serialized: bytes, info: RecordInfo, features: FeatureSpec
) -> tuple[str, dict[str, object]] | None:
    counts = {name: info.num_frames[name] for name in features.names}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        return (
            f"must have as many frames in every feature, at least one; it has {listed}. "
            "Write the record again.",
            {"found": counts},
        )
    held = tf.train.SequenceExample.FromString(serialized).feature_lists.feature_list
    for name, size in zip(features.names, features.sizes, strict=True):
        for frame, feature in enumerate(held[name].feature):
            lengths = [len(value) for value in feature.bytes_list.value]
            if lengths != [size]:
                return (
                    f"has {lengths or 'no'} bytes in frame {frame} of feature '{name}', expected "
                    f"one value of {size}. Write the record again.",
                    {"feature": name, "frame": frame, "found": lengths, "expected": size},
                )
    return None


def _find_label_fault(info: RecordInfo, num_classes: int) -> tuple[str, dict[str, object]] | None:
    for label in info.labels:
        if not 0 <= label < num_classes:
            return (
                f"has label {label}, but there are {num_classes} classes (0 to "
                f"{num_classes - 1}). Give records of these classes, or train on more with "
                "`yt8m-ens train --num-classes`.",
                {"label": label, "num_classes": num_classes},
            )
    return None


def _find_parser_fault(
    serialized: bytes, features: FeatureSpec, num_classes: int
) -> tuple[str, dict[str, object]] | None:
    # TensorFlow's own parser refuses some messages that protocol buffers let pass.
    try:
        parse_records(tf.constant([serialized]), features=features, num_classes=num_classes)
    except READ_ERRORS as error:
        return "is refused by TensorFlow's parser. Write the file again.", {"reason": str(error)}
    return None
