"""`MoeModel`: a mixture of logistic experts a class, with the gatings of WILLOW.

The classifier at the end of most frame-level models too, so its options are theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from yt8m_ensemble.models.architecture import Architecture, Shapes, prior_logits
from yt8m_ensemble.models.layers import batch_norm, dense, inverse_root
from yt8m_ensemble.options.architectures import MoeOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yt8m_ensemble.models.tower import Tower
    from yt8m_ensemble.values import FeatureSpec, Option


_MOST_FREQUENT = 0.99


@dataclass(frozen=True)
class MoeModel(MoeOptions, Architecture):
    """Mix logistic experts with per-class gates.

        p = sum over experts m of softmax(x G)[m] * sigmoid(x E + b)[m]

    One expert more than `moe_num_mixtures` takes part in the softmax and always says 0.

    Args:
        moe_num_mixtures: Experts a class, without the dummy.
        moe_l2: L2 penalty on gates and experts.
        moe_low_rank_gating: Rank of the gates' weights; -1 is full rank.
        moe_prob_gating: Multiply the probabilities with `sigmoid(batch norm(p W))`.
        moe_prob_gating_input: `prob` gates from the probabilities, `input` from the features.
        gating_remove_diag: Leave each class's own probability out of its gate.

    Raises:
        ModelError: If `moe_prob_gating_input` is neither.

    References:
        Abu-El-Haija et al. 2016 (arXiv 1609.08675) for the mixture; Miech, Laptev and Sivic 2017
        (arXiv 1706.06905) for the gating.
    """

    frame_level = False

    def predict(
        self,
        inputs: tf.Tensor,
        num_frames: tf.Tensor,
        tower: Tower,
        *,
        features: FeatureSpec,
        num_classes: int,
    ) -> tf.Tensor:
        """Return the mixture of the features; see `Architecture.predict`."""
        del num_frames, features
        return self.classify(tower, inputs, num_classes)

    def classify(self, tower: Tower, vectors: tf.Tensor, num_classes: int) -> tf.Tensor:
        """Apply the mixture.

        Args:
            tower: Where `gates`, `experts` and the gating's variables live.
            vectors: Shape `(B, D)`, float32.
            num_classes: Classes.

        Returns:
            Shape `(B, num_classes)`, float32.
        """
        mixtures = self.moe_num_mixtures
        gates = vectors
        names = ["gates"] if self.moe_low_rank_gating == -1 else ["gates1", "gates2"]
        if len(names) > 1:
            gates = dense(
                tower, "gates1", gates, self.moe_low_rank_gating, biases=False, l2=self.moe_l2
            )
        gates = dense(
            tower, names[-1], gates, num_classes * (mixtures + 1), biases=False, l2=self.moe_l2
        )
        experts = dense(tower, "experts", vectors, num_classes * mixtures, l2=self.moe_l2)
        shares = tf.nn.softmax(tf.reshape(gates, (-1, mixtures + 1)))
        scores = tf.sigmoid(tf.reshape(experts, (-1, mixtures)))
        mixed = tf.reduce_sum(shares[:, :mixtures] * scores, 1)
        probabilities = tf.reshape(mixed, (-1, num_classes))
        if self.moe_prob_gating:
            probabilities *= self._probability_gates(tower, vectors, probabilities, num_classes)
        return probabilities

    def prior_biases(self, frequencies: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
        """Return the experts' biases, for gates that are still alike and a dummy that says 0."""
        mixtures = self.moe_num_mixtures
        shares = np.minimum(frequencies * (mixtures + 1) / mixtures, _MOST_FREQUENT)
        return {"experts/biases": np.repeat(prior_logits(shares), mixtures)}

    def _probability_gates(
        self, tower: Tower, vectors: tf.Tensor, probabilities: tf.Tensor, num_classes: int
    ) -> tf.Tensor:
        inputs = probabilities if self.moe_prob_gating_input == "prob" else vectors
        weights = tower.variable(
            "gating_prob_weights", (inputs.shape[-1], num_classes), inverse_root(num_classes)
        )
        gates = tower.matmul(inputs, weights)
        if self.gating_remove_diag:
            gates -= tf.raw_ops.MatrixDiagPart(input=weights) * probabilities
        return tf.sigmoid(batch_norm(tower, "gating_prob_bn", gates))

    @classmethod
    def infer(cls, shapes: Shapes) -> tuple[int, dict[str, Option]]:
        """Return C and M that solve gates = C (M + 1) and experts = C M."""
        experts = shapes["experts/biases"][0]
        low_rank = "gates1/weights" in shapes
        gates = shapes["gates2/weights" if low_rank else "gates/weights"][1]
        num_classes = gates - experts
        options: dict[str, Option] = {
            "moe_num_mixtures": experts // max(num_classes, 1),
            "moe_low_rank_gating": shapes["gates1/weights"][1] if low_rank else -1,
            "moe_prob_gating": "gating_prob_weights" in shapes,
        }
        if options["moe_prob_gating"] and shapes["gating_prob_weights"][0] != num_classes:
            options["moe_prob_gating_input"] = "input"
        return num_classes, options
