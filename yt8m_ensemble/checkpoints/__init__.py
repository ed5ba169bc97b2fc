"""Checkpoint formats and nothing else: find steps, read and write streams; needs no TensorFlow."""

from yt8m_ensemble.checkpoints.reader import TfCheckpoint, open_checkpoint
from yt8m_ensemble.checkpoints.train_dir import (
    find_steps,
    last_prefixes,
    latest_prefix,
    range_prefixes,
    step_prefix,
    write_state_file,
)
from yt8m_ensemble.checkpoints.writer import CheckpointWriter, write_checkpoint

__all__ = [
    "CheckpointWriter",
    "TfCheckpoint",
    "find_steps",
    "last_prefixes",
    "latest_prefix",
    "open_checkpoint",
    "range_prefixes",
    "step_prefix",
    "write_checkpoint",
    "write_state_file",
]
