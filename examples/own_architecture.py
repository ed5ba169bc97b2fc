"""Train, average and package an architecture of one's own, defined in this file.

python examples/own_architecture.py 'records/train/*' 'records/validate/*' runs/mine
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

import yt8m_ensemble as yt


@yt.register
@dataclass(frozen=True)
class TwoLayerModel(yt.Architecture):
    """One hidden layer and a logistic output; its fields are options as `moe_num_mixtures` is."""

    hidden_size: int = 16
    frame_level = False

    def predict(
        self, inputs: Any, num_frames: Any, tower: Any, *, features: Any, num_classes: int
    ) -> Any:
        """Return the probabilities of normalized features, shape `(B, C)`."""
        del num_frames, features
        hidden = tf.nn.relu(yt.dense(tower, "hidden", inputs, self.hidden_size))
        return tf.sigmoid(yt.dense(tower, "out", hidden, num_classes))

    @classmethod
    def infer(cls, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, dict[str, Any]]:
        """Read classes and options off the shapes of the variables."""
        return shapes["out/biases"][0], {"hidden_size": shapes["hidden/biases"][0]}


def main(train_data: str, validate_data: str, out: str) -> None:
    """Train on records of 25 classes with 32 + 8 features, and print GAP of what is shipped."""
    yt.train_model(
        model="TwoLayerModel",
        train_data=train_data,
        train_dir=f"{out}/train",
        feature_sizes="32,8",
        num_classes=25,
        batch_size=50,
        save_steps=20,
        model_options={"hidden_size": 32},
    )
    yt.average_checkpoints(prefix=f"{out}/train", last=2, out=f"{out}/averaged")
    yt.merge_models(members=[f"mine={out}/averaged"], out=f"{out}/merged", fp16="auto")
    yt.package_model(model=f"{out}/merged", out=f"{out}/mine.tgz")
    for path in (f"{out}/averaged", f"{out}/mine.tgz"):
        found = yt.evaluate_model(model=path, data=validate_data)
        print(f"{found.architecture:16} {found.report.metrics.gap:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
