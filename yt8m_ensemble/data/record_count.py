"""How many records files hold, estimated from the sizes of a few: what progress counts towards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import tensorflow as tf

from yt8m_ensemble import files
from yt8m_ensemble.data.diagnosis import RECORD_OVERHEAD

if TYPE_CHECKING:
    from collections.abc import Sequence

_NUM_FILES: Final = 4
_NUM_RECORDS: Final = 16
_NUM_DIGITS: Final = 2


def estimate_num_records(paths: Sequence[str]) -> int | None:
    """Estimate how many records files hold, from the first records of a few of them.

        number of files * mean bytes of a file / mean bytes of a record

    rounded to two digits, so that nobody takes it for a count. Few records are counted.

    Args:
        paths: TFRecord files, local or of TensorFlow's file layer.

    Returns:
        The estimate; `None` if the files cannot be read, which is for their reader to explain.
    """
    sampled = paths[:: -(-len(paths) // _NUM_FILES) or 1]
    num_records = record_bytes = file_bytes = 0
    try:
        for path in sampled:
            file_bytes += files.size(path)
            for record in tf.data.TFRecordDataset(path).take(_NUM_RECORDS):
                num_records += 1
                record_bytes += len(record.numpy()) + RECORD_OVERHEAD
    except (tf.errors.OpError, OSError):
        return None
    if not num_records:
        return None
    if record_bytes == file_bytes:
        return round(num_records * len(paths) / len(sampled))
    estimate = len(paths) / len(sampled) * file_bytes * num_records / record_bytes
    return int(float(f"{estimate:.{_NUM_DIGITS - 1}e}"))
