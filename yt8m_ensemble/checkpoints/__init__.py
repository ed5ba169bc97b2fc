"""Checkpoint formats and nothing else: find steps, read and write streams; needs no TensorFlow."""

from yt8m_ensemble.checkpoints.finite import finite_blocks
from yt8m_ensemble.checkpoints.keras_weights import (
    H5Source,
    open_keras_weights,
    write_keras_weights,
)
from yt8m_ensemble.checkpoints.meta_graph import GraphSummary, summarize_meta_graph
from yt8m_ensemble.checkpoints.object_graph import OBJECT_GRAPH, prune_object_graph
from yt8m_ensemble.checkpoints.publication import recover_checkpoint
from yt8m_ensemble.checkpoints.reader import (
    TfCheckpoint,
    UnmappedTensors,
    open_checkpoint,
    refuse_first_format,
)
from yt8m_ensemble.checkpoints.safetensors import (
    SafetensorsSource,
    open_safetensors,
    write_safetensors,
)
from yt8m_ensemble.checkpoints.statistics import (
    Difference,
    TensorStatistics,
    compare,
    measure,
)
from yt8m_ensemble.checkpoints.train_dir import (
    CHECKPOINT_NAME,
    checkpoint_name,
    find_steps,
    last_prefixes,
    latest_prefix,
    range_prefixes,
    step_prefix,
    write_state_file,
)
from yt8m_ensemble.checkpoints.writer import CheckpointWriter, write_checkpoint

__all__ = [
    "CHECKPOINT_NAME",
    "OBJECT_GRAPH",
    "CheckpointWriter",
    "Difference",
    "GraphSummary",
    "H5Source",
    "SafetensorsSource",
    "TensorStatistics",
    "TfCheckpoint",
    "UnmappedTensors",
    "checkpoint_name",
    "compare",
    "find_steps",
    "finite_blocks",
    "last_prefixes",
    "latest_prefix",
    "measure",
    "open_checkpoint",
    "open_keras_weights",
    "open_safetensors",
    "prune_object_graph",
    "range_prefixes",
    "recover_checkpoint",
    "refuse_first_format",
    "step_prefix",
    "summarize_meta_graph",
    "write_checkpoint",
    "write_keras_weights",
    "write_safetensors",
    "write_state_file",
]
