"""Every architecture at a size for tests, with random weights; `predictor` runs its graph."""

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from yt8m_ensemble.checkpoints import write_checkpoint
from yt8m_ensemble.models import (
    REGISTRY,
    build_graph,
    declare_variables,
    make_model,
    model_options,
)
from yt8m_ensemble.values import FeatureSpec, ModelFlags, TensorSpec

VIDEO = FeatureSpec(("mean_rgb", "mean_audio"), (6, 2), frame_level=False)
FRAME = FeatureSpec(("rgb", "audio"), (6, 2), frame_level=True)
NUM_CLASSES = 4

POOLED_MLP = {"video_level_classifier_model": "MlpModel", "mlp_hidden_size": 5}

SMALL: dict[str, dict[str, Any]] = {
    "LogisticModel": {},
    "MoeModel": {},
    "MlpModel": {"mlp_hidden_size": 5},
    "FrameLevelLogisticModel": {},
    "DbofModel": {"dbof_cluster_size": 8, "dbof_hidden_size": 4},
    "LstmModel": {"lstm_cells": 3},
    "GruModel": {"gru_cells": 3},
    "NetVLADModelLF": {"netvlad_cluster_size": 4, "netvlad_hidden_size": 3},
    "WillowNetVLADModelLF": {"netvlad_cluster_size": 4, "netvlad_hidden_size": 3},
    "NetFVModelLF": {"fv_cluster_size": 4, "fv_hidden_size": 3},
    "DbofModelLF": {"dbof_cluster_size": 16, "dbof_hidden_size": 3},
    "SoftDbofModelLF": {"dbof_cluster_size": 16, "dbof_hidden_size": 3},
    "GatedDbofModelLF": {"dbof_cluster_size": 16, "dbof_hidden_size": 3},
    "NeXtVLADModel": {
        "nextvlad_cluster_size": 4,
        "nextvlad_hidden_size": 8,
        "groups": 2,
        "gating_reduction": 4,
    },
}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("MoeModel", {"moe_num_mixtures": 3, "moe_prob_gating": True, "gating_remove_diag": True}),
    ("MoeModel", {"moe_low_rank_gating": 2}),
    ("MoeModel", {"moe_prob_gating": True, "moe_prob_gating_input": "input"}),
    ("DbofModel", {"dbof_add_batch_norm": False, "dbof_pooling_method": "average"}),
    ("DbofModel", {"video_level_classifier_model": "LogisticModel"}),
    ("DbofModel", POOLED_MLP),
    ("NetVLADModelLF", {**POOLED_MLP, "gating": True, "mlp_layers": 1, "mlp_gating": False}),
    ("GruModel", {**POOLED_MLP, "mlp_batch_norm": False, "mlp_residual": False}),
    ("LstmModel", {"lstm_layers": 1, "lstm_backward": True}),
    ("GruModel", {"gru_layers": 1, "gru_backward": True}),
    ("NetVLADModelLF", {"gating": True, "moe_prob_gating": True}),
    ("NetVLADModelLF", {"netvlad_add_batch_norm": False, "gating": True}),
    ("NetVLADModelLF", {"lightvlad": True}),
    ("NetVLADModelLF", {"vlagd": True}),
    ("WillowNetVLADModelLF", {"gating": True, "gating_remove_diag": True, "netvlad_relu": False}),
    ("WillowNetVLADModelLF", {"netvlad_add_batch_norm": False, "gating": True}),
    ("WillowNetVLADModelLF", {"lightvlad": True, "netvlad_dimred": 7}),
    ("WillowNetVLADModelLF", {"vlagd": True}),
    ("NetFVModelLF", {"fv_couple_weights": False, "gating": True, "fv_relu": False}),
    ("NetFVModelLF", {"netvlad_add_batch_norm": False, "gating": True}),
    ("DbofModelLF", {"dbof_add_batch_norm": False}),
    ("SoftDbofModelLF", {"softdbof_maxpool": True}),
    ("SoftDbofModelLF", {"fc_dimred": False, "dbof_relu": False}),
    ("GatedDbofModelLF", {"dbof_add_batch_norm": False, "softdbof_maxpool": True}),
    ("MlpModel", {"mlp_layers": 3, "mlp_gating": False}),
    ("MlpModel", {"mlp_batch_norm": False, "mlp_residual": False, "mlp_centering": False}),
    ("NeXtVLADModel", {"expansion": 1, "drop_rate": 0.0}),
]  # fmt: skip
"""Options away from their defaults, so that every branch is built, run and recognised."""

CASES: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in REGISTRY] + VARIANTS
IDS = [name + "".join(f"-{key}={value}" for key, value in extra.items()) for name, extra in CASES]


def small_flags(name, *, num_classes=NUM_CLASSES, **options):
    """Return flags of a small model of that architecture."""
    features = FRAME if REGISTRY[name].frame_level else VIDEO
    model = make_model(name, {**SMALL[name], **options}, frame_level=features.frame_level)
    return ModelFlags(name, features, num_classes, options=model_options(model))


def random_weights(flags, *, seed=0):
    """Draw values for every variable by name; variances are positive."""
    model = make_model(flags.model, flags.options)
    rng = np.random.default_rng(seed)
    weights = {}
    for name, declared in declare_variables(model, flags.features, flags.num_classes).items():
        values = rng.standard_normal(declared.shape).astype(np.float32)
        if values.ndim > 1:
            values *= 2 / np.sqrt(values.shape[-2])
        weights[name] = np.abs(values) + 0.5 if name.endswith("variance") else values
    return weights


def write_train_dir(
    directory: Path, flags: ModelFlags, *, seed: int = 0, step: int = 1, scale: float = 0.5
) -> Path:
    """Write `model_flags.json` and one checkpoint of random weights; return the directory."""
    draw = np.random.default_rng(seed)
    arrays = {}
    for spec in build_graph(flags).variables.values():
        values = draw.normal(scale=scale, size=spec.shape).astype(np.float32)
        arrays[spec.name] = np.abs(values) if spec.name.endswith("variance") else values
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model_flags.json").write_text(flags.to_json())
    arrays["global_step"] = np.array(step, np.int64)
    write_checkpoint(str(directory / f"model.ckpt-{step}"), arrays)
    return directory


def random_inputs(flags, *, videos=3, frames=5, seed=1):
    """Draw a batch; frame-level videos have 1, 3 and all frames true, the rest is 0."""
    rng = np.random.default_rng(seed)
    size = flags.features.total_size
    if not flags.features.frame_level:
        return rng.standard_normal((videos, size)).astype(np.float32), np.ones(videos, np.int32)
    num_frames = np.resize([1, 3, frames], videos).astype(np.int32)
    inputs = rng.standard_normal((videos, frames, size)).astype(np.float32)
    inputs[np.arange(frames) >= num_frames[:, None]] = 0
    return inputs, num_frames


def specs_of(weights):
    """Describe weights as a checkpoint would."""
    return {name: TensorSpec(name, value.shape, "float32") for name, value in weights.items()}


def raw_flags(flags):
    """Return what the starter code writes: features and a model name, nothing else."""
    return {
        "model": flags.model,
        "feature_names": ",".join(flags.features.names),
        "feature_sizes": ",".join(map(str, flags.features.sizes)),
        "frame_features": flags.features.frame_level,
    }


@contextmanager
def predictor(flags, weights):
    """Open one session of the inference graph; yield what predicts in it."""
    built = build_graph(flags)
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(built.graph_def, name="")
        assign = [
            tf.raw_ops.Assign(ref=graph.get_tensor_by_name(f"{node}:0"), value=weights[spec.name])
            for node, spec in built.variables.items()
        ]
        session.run(assign)
        yield lambda inputs, num_frames: session.run(
            built.predictions, {built.inputs: inputs, built.num_frames: num_frames}
        )


def train_options(features, settings):
    """Return the keywords of `train_model` for a feature spec and settings of both kinds."""
    from yt8m_ensemble.steps.train import split_settings

    training, model_options = split_settings(settings)
    return {
        "features": "frame" if features.frame_level else "video",
        "feature_names": ",".join(features.names),
        "feature_sizes": ",".join(map(str, features.sizes)),
        "model_options": model_options,
        **training,
    }
