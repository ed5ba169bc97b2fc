"""Inference graphs as data: read meta graphs, cut them to what the predictions need, write them.

Never holds a weight: a `ModelGraph` names its variables, and whoever runs or merges it reads their
values from a `TensorSource`.
"""

from yt8m_ensemble.graphs.feature_view import view_features
from yt8m_ensemble.graphs.frozen_graph import load_frozen_graph, read_constants
from yt8m_ensemble.graphs.meta_files import (
    CONTRACT,
    check_exported_graph,
    load_meta_graph,
    read_meta_graph,
    to_meta_graph,
    write_meta_graph,
)
from yt8m_ensemble.graphs.mixtures import cut_member, find_decoders, find_members
from yt8m_ensemble.graphs.model_graph import ModelGraph, free_scope, from_tf_graph, node_name
from yt8m_ensemble.graphs.operation_check import (
    GraphReport,
    Root,
    check_graph,
    reader_roots,
)
from yt8m_ensemble.graphs.rewrite import fix_frames, frame_draws, lift_constants
from yt8m_ensemble.graphs.saved_model import load_saved_model, read_serving_graph
from yt8m_ensemble.graphs.traced_model import trace_model

__all__ = [
    "CONTRACT",
    "GraphReport",
    "ModelGraph",
    "Root",
    "check_exported_graph",
    "check_graph",
    "cut_member",
    "find_decoders",
    "find_members",
    "fix_frames",
    "frame_draws",
    "free_scope",
    "from_tf_graph",
    "lift_constants",
    "load_frozen_graph",
    "load_meta_graph",
    "load_saved_model",
    "node_name",
    "read_constants",
    "read_meta_graph",
    "read_serving_graph",
    "reader_roots",
    "to_meta_graph",
    "trace_model",
    "view_features",
    "write_meta_graph",
]
