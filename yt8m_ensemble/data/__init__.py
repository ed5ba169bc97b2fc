"""TFRecords of YouTube-8M's two levels: read into batches, checked, written.

Dequantises and pads; never normalises and never looks at a model.
"""

from yt8m_ensemble.data.diagnosis import check_records, explained_errors
from yt8m_ensemble.data.ground_truth import read_ground_truth_csv
from yt8m_ensemble.data.peek import RecordInfo, peek_record
from yt8m_ensemble.data.quantization import dequantize, quantize
from yt8m_ensemble.data.reading import Batch, read_batches, training_dataset

__all__ = [
    "Batch",
    "RecordInfo",
    "check_records",
    "dequantize",
    "explained_errors",
    "peek_record",
    "quantize",
    "read_batches",
    "read_ground_truth_csv",
    "training_dataset",
]
