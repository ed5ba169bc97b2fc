"""What travels between rooms: frozen dataclasses, numpy only, validated when made."""

from yt8m_ensemble.options.architectures import Option
from yt8m_ensemble.options.choices import Space
from yt8m_ensemble.progress import Progress, no_progress
from yt8m_ensemble.values.bundles import READERS, Bundle, BundleMember, Check
from yt8m_ensemble.values.flags import (
    BASE_KEYS,
    FeatureSpec,
    ModelFlags,
    check_flags,
    parse_feature_spec,
    parse_flags,
)
from yt8m_ensemble.values.joint_features import feature_ranges, join_features
from yt8m_ensemble.values.kept import Kept
from yt8m_ensemble.values.scores import (
    SPACES,
    Labels,
    MixtureWeights,
    Predictions,
    check_aligned,
)
from yt8m_ensemble.values.tensors import (
    Checkpoint,
    CombinedSource,
    DictSource,
    TensorSource,
    TensorSpec,
)
from yt8m_ensemble.values.video_ids import check_distinct, csv_field

__all__ = [
    "BASE_KEYS",
    "READERS",
    "SPACES",
    "Bundle",
    "BundleMember",
    "Check",
    "Checkpoint",
    "CombinedSource",
    "DictSource",
    "FeatureSpec",
    "Kept",
    "Labels",
    "MixtureWeights",
    "ModelFlags",
    "Option",
    "Predictions",
    "Progress",
    "Space",
    "TensorSource",
    "TensorSpec",
    "check_aligned",
    "check_distinct",
    "check_flags",
    "csv_field",
    "feature_ranges",
    "join_features",
    "no_progress",
    "parse_feature_spec",
    "parse_flags",
]
