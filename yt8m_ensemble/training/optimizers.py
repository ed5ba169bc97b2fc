"""Optimizers with TensorFlow 1's arithmetic and slot names, so that checkpoints resume either way.

Each applies one gradient to one variable by TensorFlow's fused kernel. Holds no state itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yt8m_ensemble.options import TrainingOptions

Counters = Mapping[str, Any]
"""Scalars that change every step, by checkpoint name: numpy outside, tensors inside the step."""


@dataclass(frozen=True)
class Now:
    """Scalars of one step as float32 tensors.

    Args:
        rate: Learning rate.
        weight_decay: Decoupled decay.
        counters: The optimizer's own.
    """

    rate: tf.Tensor
    weight_decay: tf.Tensor
    counters: Counters


@dataclass(frozen=True)
class Optimizer:
    """Plain gradient descent, and what the others override: `w -= rate * g`.

    Attributes:
        slots: Suffix and first value of each tensor kept beside a variable.
    """

    slots: ClassVar[tuple[tuple[str, float], ...]] = ()

    def first_counters(self) -> dict[str, np.float32]:
        """Return the counters before the first step."""
        return {}

    def next_counters(self, counters: Counters) -> dict[str, np.float32]:
        """Return the counters after one more step."""
        del counters
        return {}

    def apply(self, variable: Any, slots: Sequence[Any], gradient: tf.Tensor, now: Now) -> None:
        """Move a variable and its slots along a gradient."""
        del slots
        tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=now.rate, delta=gradient)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam as `tf.train.AdamOptimizer`: the epsilon is not corrected for bias.

        rate_t = rate * sqrt(1 - b2 ** t) / (1 - b1 ** t);  w -= rate_t * m / (sqrt(v) + epsilon)

    References:
        Kingma and Ba 2015 (arXiv 1412.6980), the form before section 2.1.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    slots = (("Adam", 0.0), ("Adam_1", 0.0))

    def first_counters(self) -> dict[str, np.float32]:
        """Return the powers of the betas for the first step."""
        return {"beta1_power": np.float32(self.beta1), "beta2_power": np.float32(self.beta2)}

    def next_counters(self, counters: Counters) -> dict[str, np.float32]:
        """Return the powers multiplied once more, in float32 as the original does."""
        return {
            "beta1_power": np.float32(counters["beta1_power"]) * np.float32(self.beta1),
            "beta2_power": np.float32(counters["beta2_power"]) * np.float32(self.beta2),
        }

    def apply(self, variable: Any, slots: Sequence[Any], gradient: tf.Tensor, now: Now) -> None:
        """Move a variable and its two moments."""
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=slots[0].handle,
            v=slots[1].handle,
            beta1_power=now.counters["beta1_power"],
            beta2_power=now.counters["beta2_power"],
            lr=now.rate,
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
            grad=gradient,
        )


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled decay of matrices: before the step, `w -= rate * decay * w`.

    References:
        Loshchilov and Hutter 2019 (arXiv 1711.05101).
    """

    def apply(self, variable: Any, slots: Sequence[Any], gradient: tf.Tensor, now: Now) -> None:
        """Shrink a matrix, then move the variable and its two moments."""
        if len(variable.shape) > 1:
            decay = now.rate * now.weight_decay * variable.read_value()
            tf.raw_ops.AssignSubVariableOp(resource=variable.handle, value=decay)
        super().apply(variable, slots, gradient, now)


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Adagrad: `a += g ** 2; w -= rate * g / sqrt(a)`, with a starting at 0.1.

    References:
        Duchi, Hazan and Singer 2011.
    """

    slots = (("Adagrad", 0.1),)

    def apply(self, variable: Any, slots: Sequence[Any], gradient: tf.Tensor, now: Now) -> None:
        """Move a variable and its sum of squares."""
        tf.raw_ops.ResourceApplyAdagrad(
            var=variable.handle, accum=slots[0].handle, lr=now.rate, grad=gradient
        )


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """RMSProp: `s = 0.9 s + 0.1 g ** 2; w -= rate * g / sqrt(s + 1e-10)`, with s starting at 1.

    References:
        Tieleman and Hinton 2012; defaults of `tf.train.RMSPropOptimizer`.
    """

    decay: float = 0.9
    epsilon: float = 1e-10
    slots = (("RMSProp", 1.0), ("RMSProp_1", 0.0))

    def apply(self, variable: Any, slots: Sequence[Any], gradient: tf.Tensor, now: Now) -> None:
        """Move a variable, its mean square and its (unused) momentum."""
        tf.raw_ops.ResourceApplyRMSProp(
            var=variable.handle,
            ms=slots[0].handle,
            mom=slots[1].handle,
            lr=now.rate,
            rho=self.decay,
            momentum=0.0,
            epsilon=self.epsilon,
            grad=gradient,
        )


def make_optimizer(options: TrainingOptions) -> Optimizer:
    """Return the optimizer that options name, with their epsilon."""
    found = OPTIMIZERS[options.optimizer]
    return replace(found, epsilon=options.adam_epsilon) if isinstance(found, Adam) else found


OPTIMIZERS: Mapping[str, Optimizer] = {
    "Adam": Adam(),
    "SGD": Optimizer(),
    "Adagrad": Adagrad(),
    "RMSProp": RMSProp(),
    "AdamW": AdamW(),
}
"""Optimizers by name."""
