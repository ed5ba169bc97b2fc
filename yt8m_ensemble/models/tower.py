"""What an architecture's arithmetic asks of its surroundings: variables, randomness, products.

One piece of arithmetic serves two worlds. `GraphTower` answers with reference variables of a
TensorFlow 1 inference graph; `training.TrainingTower` with `tf.Variable`s under `tf.function`.
Never trains, never touches a file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from yt8m_ensemble.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Initializer = Callable[[np.random.Generator, tuple[int, ...]], "NDArray[np.floating]"]
"""Draws the first value of a variable from a generator and a shape."""

SCOPE = "tower"
"""The starter code builds every model under this variable scope."""


@dataclass(frozen=True)
class Declaration:
    """One variable of a model.

    Args:
        name: Its checkpoint name, e.g. `tower/gates/weights`.
        shape: Its dimensions; the dtype is float32.
        initializer: Draws its first value.
        l2: Coefficient of its penalty `l2 * sum(w ** 2) / 2`.
        trainable: Whether it is trained; batch-norm moving averages are not.
    """

    name: str
    shape: tuple[int, ...]
    initializer: Initializer
    l2: float = 0.0
    trainable: bool = True


class Tower(ABC):
    """Keep the variable scope, and leave what a variable is to the subclass.

    Args:
        training: Whether batch statistics, frame sampling and dropout are wanted.
    """

    def __init__(self, *, training: bool) -> None:
        self.training = training
        self._scope = SCOPE

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Prefix the variables of the block with `name/`.

        Yields:
            Nothing.
        """
        outer = self._scope
        self._scope = f"{outer}/{name}"
        try:
            yield
        finally:
            self._scope = outer

    def variable(
        self,
        name: str,
        shape: Sequence[int],
        initializer: Initializer,
        *,
        l2: float = 0.0,
        trainable: bool = True,
    ) -> tf.Tensor:
        """Return the value of a variable, float32, declared on first use."""
        full_name = f"{self._scope}/{name}"
        return self._read(Declaration(full_name, tuple(shape), initializer, l2, trainable))

    def average(self, name: str, value: tf.Tensor) -> None:
        """Move a moving average of the current scope towards `value`; only while training.

        Raises:
            NotImplementedError: If this tower does not train.
        """
        raise NotImplementedError

    def uniform(self, shape: Sequence[Any]) -> tf.Tensor:
        """Draw float32 values in `[0, 1)`; only while training.

        Raises:
            NotImplementedError: If this tower does not train.
        """
        raise NotImplementedError

    def augment(self, inputs: tf.Tensor, num_frames: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return inputs to train on instead; here, the same."""
        return inputs, num_frames

    def dropout(self, values: tf.Tensor, share: float) -> tf.Tensor:
        """Return values of which a share is zero while training, the rest scaled up for it."""
        if not self.training or not share:
            return values
        kept = tf.cast(self.uniform(tf.shape(values)) >= share, tf.float32)
        return values * kept / (1 - share)

    def matmul(self, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        """Return a product of matrices, which a training tower may take in a shorter dtype."""
        return tf.matmul(left, right)

    def while_loop(
        self, condition: Callable[..., tf.Tensor], body: Callable[..., Any], variables: Any
    ) -> Any:
        """Return the variables after the loop, structured as they came."""
        return tf.while_loop(condition, body, variables)

    @abstractmethod
    def _read(self, declaration: Declaration) -> tf.Tensor: ...


class GraphTower(Tower):
    """Create each variable as a `VariableV2` node of the current graph, never training.

    Reference variables load on TensorFlow 1.8, 1.14 and 1.15; resource variables written by
    TensorFlow 2 load on none of them.
    """

    def __init__(self) -> None:
        super().__init__(training=False)
        self.declarations: dict[str, Declaration] = {}
        self._values: dict[str, Any] = {}

    def while_loop(
        self, condition: Callable[..., tf.Tensor], body: Callable[..., Any], variables: Any
    ) -> Any:
        """Return the variables after a loop of version 1, the only one that 1.14 and older know."""
        enabled = tf.compat.v1.control_flow_v2_enabled()
        tf.compat.v1.disable_control_flow_v2()
        try:
            return tf.compat.v1.while_loop(condition, body, variables)
        finally:
            if enabled:
                tf.compat.v1.enable_control_flow_v2()

    def _read(self, declaration: Declaration) -> tf.Tensor:
        name = declaration.name
        if name not in self._values:
            # Absolute: the checkpoint name is the node name.
            with tf.compat.v1.get_default_graph().name_scope(None):
                variable = tf.raw_ops.VariableV2(
                    shape=declaration.shape, dtype=tf.float32, name=name
                )
                self._values[name] = tf.identity(variable, name=f"{name}/read")
            if variable.op.name != name:
                msg = f"Two operations of the model are named '{name}'. Rename one of them."
                raise ModelError(msg, name=name)
            self.declarations[name] = declaration
        return self._values[name]
