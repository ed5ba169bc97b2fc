"""Scalars of TensorBoard event files, read without TensorFlow.

A file that is still being written, or was cut off, counts up to its last whole record.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints.wire import read_fields, to_signed
from yt8m_ensemble.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARK = "events.out.tfevents."
_MAX_BYTES = 256_000_000
_LENGTH, _HEAD, _FRAME = 8, 12, 16  # a record: length, its checksum, content, its checksum
_STEP, _SUMMARY, _VALUE, _TAG, _NUMBER = 2, 5, 1, 1, 2  # fields of Event, Summary, Summary.Value


def read_scalars(train_dir: str) -> dict[str, list[tuple[int, float]]]:
    """Read the scalars of a directory's event files.

    Args:
        train_dir: The directory.

    Returns:
        By tag, pairs of global step and value by rising step; of a step that several files tell of,
        the value of the latest.
    """
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for name in sorted(name for name in files.list_dir(train_dir) if _MARK in name):
        data = files.read_limited(f"{train_dir}/{name}", limit=_MAX_BYTES)
        try:
            for step, tag, value in _scalars(data):
                found[tag][step] = value
        except (CheckpointError, UnicodeDecodeError):
            continue  # what is damaged in a log is no reason to show nothing
    return {tag: sorted(values.items()) for tag, values in found.items()}


def _scalars(data: bytes) -> Iterator[tuple[int, str, float]]:
    position = 0
    while position + _FRAME <= len(data):
        (length,) = struct.unpack_from("<Q", data, position)
        if length > len(data) - position - _FRAME:
            return
        yield from _event(data[position + _HEAD : position + _HEAD + length])
        position += _FRAME + length


def _event(record: bytes) -> Iterator[tuple[int, str, float]]:
    step, summaries = 0, []
    for field, value in read_fields(record):
        if field == _STEP and isinstance(value, int):
            step = to_signed(value)
        elif field == _SUMMARY and isinstance(value, bytes):
            summaries.append(value)
    for summary in summaries:
        for field, scalar in read_fields(summary):
            if field == _VALUE and isinstance(scalar, bytes):
                parts = dict(read_fields(scalar))
                tag, number = parts.get(_TAG), parts.get(_NUMBER)
                if isinstance(tag, bytes) and isinstance(number, int):
                    bits = struct.pack("<I", number & 0xFFFF_FFFF)
                    yield step, tag.decode(), struct.unpack("<f", bits)[0]
