"""Models small enough for a test: 8 features, 4 classes, 3 frames, random weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble.checkpoints import write_checkpoint
from yt8m_ensemble.models import build_graph
from yt8m_ensemble.values import FeatureSpec, ModelFlags

if TYPE_CHECKING:
    from pathlib import Path

VIDEO = FeatureSpec(("mean_rgb", "mean_audio"), (6, 2), frame_level=False)
FRAME = FeatureSpec(("rgb", "audio"), (6, 2), frame_level=True, max_frames=3)
NUM_CLASSES = 4


def flags_of(model: str, *, num_classes: int = NUM_CLASSES, **options: object) -> ModelFlags:
    """Return the flags of a pico model."""
    from yt8m_ensemble.models import make_model, model_options

    level = VIDEO if model in {"LogisticModel", "MoeModel"} else FRAME
    if model == "NetVLADModelLF":
        options = {"netvlad_cluster_size": 2, "netvlad_hidden_size": 4, **options}
    made = make_model(model, options, frame_level=level.frame_level)
    return ModelFlags(model, level, num_classes, options=model_options(made))


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


def write_video_records(path: Path, *, videos: int = 10, seed: int = 0, first: int = 0) -> Path:
    """Write video-level records with one or two labels each; ids count from `first`."""
    import tensorflow as tf

    draw = np.random.default_rng(seed)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in range(videos):
            example = tf.train.Example()
            fields = example.features.feature
            fields["id"].bytes_list.value.append(f"v{first + number:03d}".encode())
            fields["labels"].int64_list.value.extend({number % 4, (number * 3) % 4})
            fields["mean_rgb"].float_list.value.extend(draw.normal(size=6))
            fields["mean_audio"].float_list.value.extend(draw.normal(size=2))
            writer.write(example.SerializeToString())
    return path


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object."""
    return dict(json.loads(path.read_text()))
