"""`GraphRunner`: one inference graph with its weights, ready to score batches.

The same session runs a training checkpoint, an exported model and a merged one, so that all of them
score a batch in the same way. What takes frames runs on a few videos at a time, and what follows on
many (see `frame_stage`), whose vectors the caller may gather in between. Never reads records.
"""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import starmap
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import tensorflow as tf

from yt8m_ensemble.errors import CheckpointError, GraphError, ShapeError, TensorMismatchError
from yt8m_ensemble.inference.byte_input import add_byte_input
from yt8m_ensemble.inference.frame_pooling import frame_vectors
from yt8m_ensemble.inference.upcast import upcast_variables
from yt8m_ensemble.threads import call_interruptibly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.graphs import ModelGraph
    from yt8m_ensemble.values import TensorSource

_FRAMES: Final = 3  # rank of a batch of frames
_PIECE_BYTES: Final = 12 << 20  # of frames, as float32; the graph holds some five times as much


@dataclass(frozen=True)
class PooledFrames:
    """Intermediate values of a batch of B videos in one graph.

    Args:
        tensors: Names of the tensors to feed.
        values: Their values, each with B rows.
        num_frames: Shape `(B,)`.
    """

    tensors: tuple[str, ...]
    values: tuple[NDArray[Any], ...]
    num_frames: NDArray[Any]

    @classmethod
    def joined(cls, parts: Sequence[PooledFrames]) -> PooledFrames:
        """Return the videos of several batches, pooled by one graph, as one."""
        values = zip(*(part.values for part in parts), strict=True)
        return cls(
            parts[0].tensors,
            tuple(map(np.concatenate, values)),
            np.concatenate([part.num_frames for part in parts]),
        )


@contextmanager
def _memory_explained() -> Iterator[None]:
    """Turn what TensorFlow says of too large a result into one sentence.

    Yields:
        Nothing.

    Raises:
        GraphError: If a result of the graph does not fit into memory.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        node = re.search(r"\{\{node ([^}]*)\}\}", error.message)
        shape = re.search(r"shape\[([\d,]*)\]", error.message)
        place = f"'{node[1]}'" if node else "An operation of the graph"
        size = f" of shape ({shape[1]})" if shape else ""
        msg = (
            f"{place} makes a result{size} that does not fit into memory. Score fewer videos at "
            "a time, or leave this model out."
        )
        raise GraphError(msg, node=node[1] if node else "") from error


class GraphRunner:
    """Score batches with one graph; a context manager that frees the weights.

    Args:
        model: The graph.
        source: Its weights; read once, tensor by tensor.

    Raises:
        CheckpointError: If a variable is not among the weights.
        TensorMismatchError: If one has another shape.
    """

    def __init__(self, model: ModelGraph, source: TensorSource) -> None:
        model, byte_input = add_byte_input(upcast_variables(model))
        self._model = model
        self._graph = tf.Graph()
        with self._graph.as_default():
            tf.import_graph_def(model.graph_def, name="")
            self._fills = {
                node: (
                    value := tf.raw_ops.Placeholder(dtype=spec.dtype, name="restore/value"),
                    tf.raw_ops.Assign(ref=self._graph.get_tensor_by_name(f"{node}:0"), value=value),
                )
                for node, spec in model.variables.items()
            }
        self._session = tf.compat.v1.Session(graph=self._graph)
        self.load(source)
        self._fed = {"float32": self._graph.get_tensor_by_name(model.inputs)}
        if byte_input:
            self._fed["uint8"] = self._graph.get_tensor_by_name(byte_input)
        self._num_frames = self._graph.get_tensor_by_name(model.num_frames)
        self._members = list(model.members.values()) or [model.predictions]
        self._vectors = frame_vectors(model) if self._fed["float32"].shape.rank == _FRAMES else {}
        self._callables: dict[Any, Callable[..., Any]] = {}

    def load(self, source: TensorSource) -> None:
        """Replace the weights, e.g. by those of the next checkpoint of one training run.

        Args:
            source: The weights; read once, tensor by tensor.

        Raises:
            CheckpointError: If a variable is not among the weights.
            TensorMismatchError: If one has another shape; the runner then holds a mixture of both
                checkpoints and must not be used before another load.
        """
        specs = source.specs()
        for node, (placeholder, assign) in self._fills.items():
            spec = self._model.variables[node]
            if spec.name not in specs:
                msg = f"'{spec.name}' is in the graph but not in the checkpoint."
                raise CheckpointError(msg, tensor=spec.name)
            value = self._model.read(node, source)
            if spec.dtype == "float32":
                value = value.astype(np.float32, copy=False)
            if value.shape != spec.shape:
                msg = (
                    f"'{spec.name}' is {spec.shape} in the graph but {value.shape} in the "
                    "checkpoint. Is it of another training run?"
                )
                raise TensorMismatchError(
                    msg, tensor=spec.name, expected=spec.shape, found=value.shape
                )
            # Running the operation, not its output, spares a copy of the tensor on the way back.
            self._session.run(assign.op, {placeholder: value})

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the members; empty for a single model."""
        return tuple(self._model.members)

    def pool_frames(self, features: NDArray[Any], num_frames: NDArray[np.int32]) -> PooledFrames:
        """Run a batch as far as it takes frames, a few videos at a time.

        Args:
            features: Shape `(B, F)` or `(B, T, F)`, float32, as the graph wants them; or frames in
                the uint8 of the records, if the graph `takes_bytes`.
            num_frames: Shape `(B,)`.

        Returns:
            What the rest of the graph is to be fed with; the features themselves if they are means
            or the graph has no such place.

        Raises:
            ShapeError: If the graph takes other features.
        """
        fed = self._fed[features.dtype.name]
        if not fed.shape.is_compatible_with(features.shape):
            msg = (
                f"The model takes batches of shape {fed.shape}, the records give {features.shape}. "
                "Give records of the features that the model was trained on."
            )
            raise ShapeError(msg, expected=str(fed.shape), found=features.shape)
        counts = num_frames.astype(self._num_frames.dtype.as_numpy_dtype, copy=False)
        batch = PooledFrames((fed.name,), (features,), counts)
        if not self._vectors:
            return batch
        return PooledFrames((*self._vectors,), tuple(self._run([*self._vectors], batch)), counts)

    @property
    def pools_frames(self) -> bool:
        """Whether `pool_frames` makes anything smaller of frames."""
        return bool(self._vectors)

    def predict(self, features: NDArray[Any], num_frames: NDArray[np.int32]) -> NDArray[np.float32]:
        """Score a batch.

        Args:
            features: As for `pool_frames`.
            num_frames: Shape `(B,)`.

        Returns:
            Confidences, shape `(B, C)`, float32.

        Raises:
            ShapeError: If the graph takes other features.
        """
        return self.mixed(self.pool_frames(features, num_frames))

    def mixed(self, batch: PooledFrames) -> NDArray[np.float32]:
        """Return the model's confidences, of a merged one the mixed ones: `(B, C)`, float32."""
        scores: NDArray[np.float32]
        (scores,) = self._run([self._model.predictions], batch)
        return scores

    def members_of(self, batch: PooledFrames) -> NDArray[np.float32]:
        """Return every member's confidences, of a single model its own: `(M, B, C)`, float32."""
        return np.stack(self._run(self._members, batch))

    def both(self, batch: PooledFrames) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what `mixed` and `members_of` return, in one run."""
        mixed, *members = self._run([self._model.predictions, *self._members], batch)
        return mixed, np.stack(members)

    @property
    def takes_bytes(self) -> bool:
        """Whether frames may be given as bytes: the scores are the same bit for bit."""
        return "uint8" in self._fed

    def close(self) -> None:
        """Free the session and the weights; a run of another thread ends with an error."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, fetches: list[str], batch: PooledFrames) -> list[NDArray[Any]]:
        key = *fetches, *batch.tensors
        if key not in self._callables:
            fed = [self._graph.get_tensor_by_name(name) for name in batch.tensors]
            self._callables[key] = self._session.make_callable(fetches, [*fed, self._num_frames])
        run, fields = self._callables[key], (*batch.values, batch.num_frames)
        if batch.values[0].ndim != _FRAMES:
            with _memory_explained():
                whole: list[NDArray[Any]] = call_interruptibly(run, *fields)
            return whole
        size = max(1, _PIECE_BYTES // (4 * math.prod(batch.values[0].shape[1:])))
        number = max(1, -(-len(batch.num_frames) // size))
        pieces = zip(*(np.array_split(field, number) for field in fields), strict=True)
        with _memory_explained():
            parts = call_interruptibly(lambda: [*starmap(run, pieces)])
        return [np.concatenate(part) for part in zip(*parts, strict=True)]
