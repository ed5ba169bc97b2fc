"""Archives for the official readers: made the same way every time, read without trust, proven.

Never loads TensorFlow: what must, runs in a process of its own.
"""

from yt8m_ensemble.packaging.comparison import Comparer, Comparison, Expected, stored_scores
from yt8m_ensemble.packaging.layouts import BUNDLE_FILES, MODEL_FILES, member_of
from yt8m_ensemble.packaging.loading import FreshReader, LoadedModel, fresh_reader
from yt8m_ensemble.packaging.mixture import read_mixture
from yt8m_ensemble.packaging.operations import (
    OperationTable,
    check_operations,
    load_operation_table,
)
from yt8m_ensemble.packaging.probing import Chance, made_up_videos, probe
from yt8m_ensemble.packaging.reading import describe_saved_model, extract_bundle, list_bundle
from yt8m_ensemble.packaging.size_reduction import SizeReduction, plan_size_reduction
from yt8m_ensemble.packaging.structure import (
    POLICY_CHECK,
    RUN_CHECKS,
    check_archive,
    check_model,
    check_signatures,
)
from yt8m_ensemble.packaging.writing import check_bundle_size, write_bundle

__all__ = [
    "BUNDLE_FILES",
    "MODEL_FILES",
    "POLICY_CHECK",
    "RUN_CHECKS",
    "Chance",
    "Comparer",
    "Comparison",
    "Expected",
    "FreshReader",
    "LoadedModel",
    "OperationTable",
    "SizeReduction",
    "check_archive",
    "check_bundle_size",
    "check_model",
    "check_operations",
    "check_signatures",
    "describe_saved_model",
    "extract_bundle",
    "fresh_reader",
    "list_bundle",
    "load_operation_table",
    "made_up_videos",
    "member_of",
    "plan_size_reduction",
    "probe",
    "read_mixture",
    "stored_scores",
    "write_bundle",
]
