"""Means of checkpoints: what may be averaged, with which weights, and the arithmetic."""

from yt8m_ensemble.averaging.arrays import average
from yt8m_ensemble.averaging.mean import BLOCK_VALUES, BlockSource, mean_blocks
from yt8m_ensemble.averaging.plan import AveragePlan, find_optimizer_tensors, plan_average
from yt8m_ensemble.averaging.shadows import ShadowSource
from yt8m_ensemble.averaging.soup import (
    MeanSource,
    RunningMean,
    Trial,
    chosen,
    greedy_soup,
    search_last,
)
from yt8m_ensemble.averaging.trajectory import Neighbors, check_one_run, compare_neighbors
from yt8m_ensemble.averaging.weights import average_weights, candidate_weights

__all__ = [
    "BLOCK_VALUES",
    "AveragePlan",
    "BlockSource",
    "MeanSource",
    "Neighbors",
    "RunningMean",
    "ShadowSource",
    "Trial",
    "average",
    "average_weights",
    "candidate_weights",
    "check_one_run",
    "chosen",
    "compare_neighbors",
    "find_optimizer_tensors",
    "greedy_soup",
    "mean_blocks",
    "plan_average",
    "search_last",
]
