"""Training single models: options, losses, optimizers, the compiled step and the loop around it.

Never builds an ensemble and never evaluates beyond its own batches.
"""

from yt8m_ensemble.training.cluster import Cluster, read_cluster
from yt8m_ensemble.training.loop import train
from yt8m_ensemble.training.losses import LOSSES
from yt8m_ensemble.training.optimizers import OPTIMIZERS
from yt8m_ensemble.training.recalibration import estimate_batch_norm
from yt8m_ensemble.training.summaries import ScalarWriter
from yt8m_ensemble.training.trainer import StepResult, Trainer

__all__ = [
    "LOSSES",
    "OPTIMIZERS",
    "Cluster",
    "ScalarWriter",
    "StepResult",
    "Trainer",
    "estimate_batch_norm",
    "read_cluster",
    "train",
]
