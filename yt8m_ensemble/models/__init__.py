"""Single-model architectures: their options, their arithmetic, their recognition.

Each architecture is one frozen dataclass with one piece of arithmetic, used while training and in
inference graphs alike. Never reads records or writes checkpoints.
"""

from yt8m_ensemble.models.architecture import Architecture
from yt8m_ensemble.models.frames import dequantize_frames
from yt8m_ensemble.models.graph import build_graph, declare_variables, model_of_flags
from yt8m_ensemble.models.layers import batch_norm, dense
from yt8m_ensemble.models.recognition import recognize
from yt8m_ensemble.models.registry import REGISTRY, make_model, register
from yt8m_ensemble.models.tower import Declaration, Tower
from yt8m_ensemble.options.architectures import model_options

__all__ = [
    "REGISTRY",
    "Architecture",
    "Declaration",
    "Tower",
    "batch_norm",
    "build_graph",
    "declare_variables",
    "dense",
    "dequantize_frames",
    "make_model",
    "model_of_flags",
    "model_options",
    "recognize",
    "register",
]
