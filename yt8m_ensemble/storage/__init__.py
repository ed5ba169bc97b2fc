"""Predictions on disk: the only HDF5 layout of the toolkit, and the only room that knows h5py."""

from yt8m_ensemble.storage.digests import predictions_digest
from yt8m_ensemble.storage.reader import PredictionsFile, open_predictions
from yt8m_ensemble.storage.writer import PredictionsWriter, check_finite_scores

__all__ = [
    "PredictionsFile",
    "PredictionsWriter",
    "check_finite_scores",
    "open_predictions",
    "predictions_digest",
]
