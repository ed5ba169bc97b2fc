"""`LstmModel` of the starter code and `GruModel` of WILLOW: recurrent networks over the frames."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import tensorflow as tf

from yt8m_ensemble.models.frame_model import FrameModel
from yt8m_ensemble.models.frames import sample_frames
from yt8m_ensemble.models.layers import glorot_uniform, ones, zeros
from yt8m_ensemble.options.architectures import GruOptions, IterationsOption, LstmOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yt8m_ensemble.models.architecture import Shapes
    from yt8m_ensemble.models.tower import Tower
    from yt8m_ensemble.values import FeatureSpec, Option

State = list["tf.Tensor"]
"""What a layer keeps from frame to frame, each `(B, size)` float32."""

Cell = Callable[["tf.Tensor", State], State]
"""Turns an input and a state into the next state, whose last tensor is the output."""


@dataclass(frozen=True)
class Layer:
    """One layer of a stack.

    Args:
        size: Cells.
        num_states: Tensors that it keeps.
        cell: Makes the cell from a tower, its scope and the size of its input.
    """

    size: int
    num_states: int
    cell: Callable[[Tower, str, int], Cell]


@dataclass(frozen=True)
class _RecurrentModel(IterationsOption, FrameModel):
    """Run a stack of cells over the true frames and classify what they remember.

    Args:
        iterations: Frames drawn of a video while training, with `*_random_sequence`.

    Attributes:
        rnn_scope: Variable scope of the stack.
    """

    rnn_scope: ClassVar[str]

    @abstractmethod
    def layers(self) -> Sequence[Layer]:
        """Return the stack, first layer first."""

    @abstractmethod
    def summary(self, states: Sequence[State]) -> tf.Tensor:
        """Return what is classified, `(B, D)`, from the last state of each layer."""

    @abstractmethod
    def reads_backward(self) -> bool:
        """Return whether the last frame comes first."""

    @abstractmethod
    def draws_frames(self) -> bool:
        """Return whether training draws frames instead of reading all."""

    def draw_frames(
        self, raw: tf.Tensor, num_frames: tf.Tensor, tower: Tower
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return drawn frames if asked for; see `Architecture.draw_frames`."""
        if not self.draws_frames():
            return raw, num_frames
        frames = sample_frames(raw, num_frames, self.iterations, tower)
        return frames, num_frames * 0 + self.iterations

    def pool(
        self, frames: tf.Tensor, mask: tf.Tensor, tower: Tower, *, features: FeatureSpec
    ) -> tf.Tensor:
        """Return the summary of the last states; see `FrameModel.pool`."""
        if self.reads_backward():
            lengths = tf.cast(tf.reduce_sum(mask, 1), tf.int32)
            frames = tf.reverse_sequence(frames, lengths, seq_axis=1)
        with tower.scope(self.rnn_scope):
            sizes = [features.total_size, *(layer.size for layer in self.layers())]
            cells = [
                layer.cell(tower, f"cell_{index}", sizes[index])
                for index, layer in enumerate(self.layers())
            ]
        counts = [layer.num_states for layer in self.layers()]
        states = [[_start(frames, size)] * n for n, size in zip(counts, sizes[1:], strict=True)]
        return self.summary(run_stack(cells, states, frames, mask, tower))


@dataclass(frozen=True)
class LstmModel(LstmOptions, _RecurrentModel):
    """Classify the last output of a stack of LSTMs.

    Args:
        lstm_cells: Cells a layer.
        lstm_layers: Layers.
        lstm_random_sequence: Draw frames while training.
        lstm_backward: Read the last frame first.

    References:
        Hochreiter and Schmidhuber 1997; `BasicLSTMCell` with a forget bias of 1.
    """

    rnn_scope = "rnn/multi_rnn_cell"

    def layers(self) -> Sequence[Layer]:
        """Return the stack."""
        size = self.lstm_cells
        make = lambda tower, name, inputs: lstm_cell(tower, name, inputs, size)  # noqa: E731
        return [Layer(size, 2, make)] * self.lstm_layers

    def summary(self, states: Sequence[State]) -> tf.Tensor:
        """Return the last layer's output."""
        return states[-1][-1]

    def reads_backward(self) -> bool:
        """Return the option."""
        return self.lstm_backward

    def draws_frames(self) -> bool:
        """Return the option."""
        return self.lstm_random_sequence

    @classmethod
    def infer(cls, shapes: Shapes) -> tuple[int, dict[str, Option]]:
        """Return cells and layers as the variables show them."""
        num_classes, options = super().infer(shapes)
        biases = [name for name in shapes if name.endswith("/basic_lstm_cell/bias")]
        size = shapes[f"{cls.rnn_scope}/cell_0/basic_lstm_cell/bias"][0]
        return num_classes, {**options, "lstm_cells": size // 4, "lstm_layers": len(biases)}


@dataclass(frozen=True)
class GruModel(GruOptions, _RecurrentModel):
    """Classify the last states of all layers of a stack of GRUs.

    Args:
        gru_cells: Cells a layer.
        gru_layers: Layers.
        gru_random_sequence: Draw frames while training.
        gru_backward: Read the last frame first.

    References:
        Cho et al. 2014 (arXiv 1406.1078); Miech et al. 2017 (arXiv 1706.06905).
    """

    rnn_scope = "RNN/rnn/multi_rnn_cell"

    def layers(self) -> Sequence[Layer]:
        """Return the stack."""
        size = self.gru_cells
        make = lambda tower, name, inputs: gru_cell(tower, name, inputs, size)  # noqa: E731
        return [Layer(size, 1, make)] * self.gru_layers

    def summary(self, states: Sequence[State]) -> tf.Tensor:
        """Return every layer's state, side by side."""
        return tf.concat([state[-1] for state in states], 1)

    def reads_backward(self) -> bool:
        """Return the option."""
        return self.gru_backward

    def draws_frames(self) -> bool:
        """Return the option."""
        return self.gru_random_sequence

    @classmethod
    def infer(cls, shapes: Shapes) -> tuple[int, dict[str, Option]]:
        """Return cells and layers as the variables show them."""
        num_classes, options = super().infer(shapes)
        biases = [name for name in shapes if name.endswith("/gru_cell/candidate/bias")]
        size = shapes[f"{cls.rnn_scope}/cell_0/gru_cell/candidate/bias"][0]
        return num_classes, {**options, "gru_cells": size, "gru_layers": len(biases)}


def lstm_cell(tower: Tower, name: str, inputs: int, size: int) -> Cell:
    """Make an LSTM cell: `c' = c s(f + 1) + s(i) tanh(j)`, `h' = tanh(c') s(o)`, s the sigmoid.

    Args:
        tower: Where `name/basic_lstm_cell/{kernel,bias}` live.
        name: Its scope.
        inputs: Values of an input.
        size: Cells.

    Returns:
        The cell; its state is `[c, h]`.
    """
    with tower.scope(f"{name}/basic_lstm_cell"):
        kernel = tower.variable("kernel", (inputs + size, 4 * size), glorot_uniform)
        bias = tower.variable("bias", (4 * size,), zeros)

    def cell(value: tf.Tensor, state: State) -> State:
        memory, output = state
        activation = tower.matmul(tf.concat([value, output], 1), kernel) + bias
        enter, new, forget, leave = tf.split(activation, 4, 1)
        memory = memory * tf.sigmoid(forget + 1.0) + tf.sigmoid(enter) * tf.tanh(new)
        return [memory, tf.tanh(memory) * tf.sigmoid(leave)]

    return cell


def gru_cell(tower: Tower, name: str, inputs: int, size: int) -> Cell:
    """Make a GRU cell: `h' = u h + (1 - u) tanh([x, r h] W + b)`.

    Args:
        tower: Where `name/gru_cell/{gates,candidate}/{kernel,bias}` live.
        name: Its scope.
        inputs: Values of an input.
        size: Cells.

    Returns:
        The cell; its state is `[h]`.
    """
    with tower.scope(f"{name}/gru_cell"):
        gates = tower.variable("gates/kernel", (inputs + size, 2 * size), glorot_uniform)
        gates_bias = tower.variable("gates/bias", (2 * size,), ones)
        kernel = tower.variable("candidate/kernel", (inputs + size, size), glorot_uniform)
        bias = tower.variable("candidate/bias", (size,), zeros)

    def cell(value: tf.Tensor, state: State) -> State:
        (output,) = state
        both = tf.sigmoid(tower.matmul(tf.concat([value, output], 1), gates) + gates_bias)
        reset, update = tf.split(both, 2, 1)
        joined = tf.concat([value, reset * output], 1)
        candidate = tf.tanh(tower.matmul(joined, kernel) + bias)
        return [update * output + (1 - update) * candidate]

    return cell


def run_stack(
    cells: Sequence[Cell],
    states: Sequence[State],
    frames: tf.Tensor,
    mask: tf.Tensor,
    tower: Tower,
) -> Sequence[State]:
    """Feed frames to a stack of cells; a video's states stop changing at its last true frame.

    Args:
        cells: First layer first.
        states: Their first states.
        frames: Shape `(B, T, F)`, float32.
        mask: Shape `(B, T)`, float32: ones, then zeros.
        tower: Makes the loop.

    Returns:
        The last states, shaped as `states`.
    """
    by_time = tf.transpose(frames, (1, 0, 2))
    true_by_time = tf.expand_dims(tf.transpose(mask), 2)
    steps = tf.cast(tf.reduce_max(tf.reduce_sum(mask, 1)), tf.int32)

    def advance(time: tf.Tensor, states: Sequence[State]) -> tuple[tf.Tensor, Sequence[State]]:
        value, true = tf.gather(by_time, time), tf.gather(true_by_time, time)
        after = []
        for cell, state in zip(cells, states, strict=True):
            new = cell(value, state)
            # By arithmetic: the operation that `tf.where` emits is unknown to TensorFlow 1.8.
            after.append([true * n + (1 - true) * o for n, o in zip(new, state, strict=True)])
            value = new[-1]
        return time + 1, after

    last: Sequence[State]
    _, last = tower.while_loop(lambda time, _: time < steps, advance, (0, list(states)))
    return last


def _start(frames: tf.Tensor, size: int) -> tf.Tensor:
    return tf.zeros(tf.stack([tf.shape(frames)[0], size]))
