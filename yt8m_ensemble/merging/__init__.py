"""N inference models → one graph: a pure plan (names, dtypes, bytes), then build, then export.

Works on graph definitions, so that it does not matter whose code made a member. Weights stream from
the members' checkpoints to the merged one; no session ever holds them.
"""

from yt8m_ensemble.merging.build import build_merged_graph
from yt8m_ensemble.merging.export import export_inference_model
from yt8m_ensemble.merging.extraction import decode_weights, write_inference_model
from yt8m_ensemble.merging.plan import (
    Member,
    MergePlan,
    PlannedTensor,
    plan_merge,
)
from yt8m_ensemble.merging.serving import write_saved_model

__all__ = [
    "Member",
    "MergePlan",
    "PlannedTensor",
    "build_merged_graph",
    "decode_weights",
    "export_inference_model",
    "plan_merge",
    "write_inference_model",
    "write_saved_model",
]
