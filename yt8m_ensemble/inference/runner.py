"""`GraphRunner`: one inference graph with its weights, ready to score batches.

The same session runs a training checkpoint, an exported model and a merged one, so that all of them
score a batch in the same way: frames a few videos at a time, what has become of them all at once
(see `frame_stage`). Never reads records.
"""

from __future__ import annotations

import math
from itertools import starmap
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import tensorflow as tf

from yt8m_ensemble.errors import CheckpointError, ShapeError, TensorMismatchError
from yt8m_ensemble.inference.byte_input import add_byte_input
from yt8m_ensemble.inference.frame_stage import frame_vectors
from yt8m_ensemble.inference.widening import widen_variables

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from yt8m_ensemble.graphs import ModelGraph
    from yt8m_ensemble.values import TensorSource

_FRAMES: Final = 3  # rank of a batch of frames
_PIECE_BYTES: Final = 12 << 20  # of frames, as float32; the graph holds some five times as much
_VECTORS_BYTES: Final = 64 << 20  # of what the frames become, before the rest of the graph runs


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
        model, byte_input = add_byte_input(widen_variables(model))
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

    def predict(self, features: NDArray[Any], num_frames: NDArray[np.int32]) -> NDArray[np.float32]:
        """Score a batch.

        Args:
            features: Shape `(B, F)` or `(B, T, F)`, float32, as the graph wants them; or frames in
                the uint8 of the records, if the graph `takes_bytes`.
            num_frames: Shape `(B,)`.

        Returns:
            Confidences, shape `(B, C)`, float32.
        """
        scores: NDArray[np.float32]
        (scores,) = self._call([self._model.predictions], features, num_frames)
        return scores

    def predict_members(
        self, features: NDArray[Any], num_frames: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """Score a batch with every member in one run.

        Args:
            features: As for `predict`.
            num_frames: Shape `(B,)`.

        Returns:
            Confidences, shape `(M, B, C)`, float32; M is 1 for a single model.
        """
        return np.stack(self._call(self._members, features, num_frames))

    def predict_all(
        self, features: NDArray[Any], num_frames: NDArray[np.int32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Score a batch with every member and mix them, in one run.

        Args:
            features: As for `predict`.
            num_frames: Shape `(B,)`.

        Returns:
            What `predict` and what `predict_members` returns.
        """
        wanted = [self._model.predictions, *self._members]
        mixed, *members = self._call(wanted, features, num_frames)
        return mixed, np.stack(members)

    @property
    def takes_bytes(self) -> bool:
        """Whether frames may be given as bytes: the scores are the same bit for bit."""
        return "uint8" in self._fed

    def close(self) -> None:
        """Free the session and the weights."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(
        self,
        fetches: list[str],
        features: NDArray[Any],
        num_frames: NDArray[np.int32],
    ) -> Any:
        fed = self._fed[features.dtype.name]
        wanted = fed.shape
        if not wanted.is_compatible_with(features.shape):
            msg = (
                f"The model takes batches of shape {wanted}, the records give {features.shape}. "
                "Check `--features` and the feature sizes."
            )
            raise ShapeError(msg, expected=str(wanted), found=features.shape)
        counts = num_frames.astype(self._num_frames.dtype.as_numpy_dtype, copy=False)
        if features.ndim != _FRAMES:
            return self._run(fetches, [fed])(features, counts)
        piece = max(1, _PIECE_BYTES // (4 * math.prod(features.shape[1:])))
        if not self._vectors:
            return _in_pieces(self._run(fetches, [fed]), piece, features, counts)
        vectors = [self._graph.get_tensor_by_name(name) for name in self._vectors]
        first, second = self._run(list(self._vectors), [fed]), self._run(fetches, vectors)

        def score(features: NDArray[Any], counts: NDArray[Any]) -> list[NDArray[Any]]:
            return second(*_in_pieces(first, piece, features, counts), counts)

        at_once = max(piece, _VECTORS_BYTES // (4 * sum(self._vectors.values())))
        return _in_pieces(score, at_once, features, counts)

    def _run(self, fetches: list[str], fed: list[tf.Tensor]) -> Callable[..., list[NDArray[Any]]]:
        key = *fetches, *(tensor.name for tensor in fed)
        if key not in self._callables:
            made = self._session.make_callable(fetches, [*fed, self._num_frames])
            self._callables[key] = made
        return self._callables[key]


def _in_pieces(
    run: Callable[[NDArray[Any], NDArray[Any]], list[NDArray[Any]]],
    size: int,
    features: NDArray[Any],
    counts: NDArray[Any],
) -> list[NDArray[Any]]:
    """Return what a batch gives when it is run in equal pieces of at most some videos."""
    number = max(1, -(-len(counts) // size))
    pieces = zip(np.array_split(features, number), np.array_split(counts, number), strict=True)
    parts = list(starmap(run, pieces))
    return parts[0] if number == 1 else [np.concatenate(part) for part in zip(*parts, strict=True)]
