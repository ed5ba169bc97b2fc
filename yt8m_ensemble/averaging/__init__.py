"""Means of checkpoints: what may be averaged, with which weights, and the arithmetic."""

from yt8m_ensemble.averaging.mean import BLOCK_VALUES, BlockSource, mean_blocks
from yt8m_ensemble.averaging.plan import AveragePlan, find_optimizer_tensors, plan_average
from yt8m_ensemble.averaging.weights import average_weights

__all__ = [
    "BLOCK_VALUES",
    "AveragePlan",
    "BlockSource",
    "average_weights",
    "find_optimizer_tensors",
    "mean_blocks",
    "plan_average",
]
