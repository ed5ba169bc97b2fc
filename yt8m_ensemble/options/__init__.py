"""Every option of every command, written once: type, range, choices, help, default.

One frozen dataclass a command, in the file of its kind. The command line, the typed Python call,
recipes, provenance and the reference are all made from them. Loads no numpy, no TensorFlow.
"""

from yt8m_ensemble.options.architectures import architecture_fields
from yt8m_ensemble.options.average import AverageOptions
from yt8m_ensemble.options.bundle import MergeOptions, PackageOptions, VerifyOptions
from yt8m_ensemble.options.command import Command, command, keywords
from yt8m_ensemble.options.field import Field, Options, checked, fields_of, option
from yt8m_ensemble.options.mixture import (
    BlendOptions,
    CompareOptions,
    ConvertScoresOptions,
    SelectOptions,
    TuneOptions,
)
from yt8m_ensemble.options.records import (
    ConvertFeaturesOptions,
    ConvertOptions,
    ConvertPredictionsOptions,
    ConvertRecordsOptions,
    DiffOptions,
    GraphDiffOptions,
    InspectGraphOptions,
    InspectOptions,
    SynthOptions,
)
from yt8m_ensemble.options.report import ReportOptions
from yt8m_ensemble.options.score import (
    EvalModelOptions,
    EvalOptions,
    EvalPredictionsOptions,
    JoinOptions,
    PredictOptions,
)
from yt8m_ensemble.options.shared import (
    FeatureOptions,
    ModelOptions,
    PredictionSetOptions,
    ScoringOptions,
)
from yt8m_ensemble.options.surgery import EditOptions, ExtractOptions
from yt8m_ensemble.options.train import TrainingOptions, TrainOptions

__all__ = [
    "AverageOptions",
    "BlendOptions",
    "Command",
    "CompareOptions",
    "ConvertFeaturesOptions",
    "ConvertOptions",
    "ConvertPredictionsOptions",
    "ConvertRecordsOptions",
    "ConvertScoresOptions",
    "DiffOptions",
    "EditOptions",
    "EvalModelOptions",
    "EvalOptions",
    "EvalPredictionsOptions",
    "ExtractOptions",
    "FeatureOptions",
    "Field",
    "GraphDiffOptions",
    "InspectGraphOptions",
    "InspectOptions",
    "JoinOptions",
    "MergeOptions",
    "ModelOptions",
    "Options",
    "PackageOptions",
    "PredictOptions",
    "PredictionSetOptions",
    "ReportOptions",
    "ScoringOptions",
    "SelectOptions",
    "SynthOptions",
    "TrainOptions",
    "TrainingOptions",
    "TuneOptions",
    "VerifyOptions",
    "architecture_fields",
    "checked",
    "command",
    "fields_of",
    "keywords",
    "option",
]
