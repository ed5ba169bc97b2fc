"""TFRecords of YouTube-8M's two levels: read into batches, checked, written.

Dequantises, except for training, and pads; never normalises and never looks at a model.
"""

from yt8m_ensemble.data.custom_features import CustomVideo, read_custom_features
from yt8m_ensemble.data.diagnosis import check_records, explained_errors
from yt8m_ensemble.data.ground_truth import read_ground_truth_csv
from yt8m_ensemble.data.quantization import dequantize, quantize
from yt8m_ensemble.data.reading import (
    Batch,
    BatchReader,
    fetch_ahead,
    read_batches,
    read_serialized,
    survey_records,
    training_dataset,
)
from yt8m_ensemble.data.record_count import estimate_num_records
from yt8m_ensemble.data.record_info import RecordInfo, read_record_info, read_video_ids
from yt8m_ensemble.data.record_labels import read_labels
from yt8m_ensemble.data.shards import sample_shards, shard_paths
from yt8m_ensemble.data.synthesis import (
    BYTE_RANGE,
    World,
    draw_basis,
    draw_frames,
    draw_video,
    make_world,
    mean_features,
    wander_around,
)
from yt8m_ensemble.data.writing import encode_frames, encode_means, write_records

__all__ = [
    "BYTE_RANGE",
    "Batch",
    "BatchReader",
    "CustomVideo",
    "RecordInfo",
    "World",
    "check_records",
    "dequantize",
    "draw_basis",
    "draw_frames",
    "draw_video",
    "encode_frames",
    "encode_means",
    "estimate_num_records",
    "explained_errors",
    "fetch_ahead",
    "make_world",
    "mean_features",
    "quantize",
    "read_batches",
    "read_custom_features",
    "read_ground_truth_csv",
    "read_labels",
    "read_record_info",
    "read_serialized",
    "read_video_ids",
    "sample_shards",
    "shard_paths",
    "survey_records",
    "training_dataset",
    "wander_around",
    "write_records",
]
