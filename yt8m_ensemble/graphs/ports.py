"""Find the input and output of a graph whose file does not follow the contract by name.

Looks at names, dtypes and ranks; what they do not tell is asked for, all at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import tensorflow as tf

from yt8m_ensemble.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FEATURE_RANKS: Final = frozenset({None, 2, 3})
_SCORE_RANKS: Final = frozenset({None, 2})


@dataclass(frozen=True)
class Port:
    """A tensor that goes into a graph or comes out of it.

    Args:
        key: What its author calls it.
        tensor: Its name in the graph.
        dtype: Its dtype.
        rank: How many dimensions it has; `None` if that is not known.
    """

    key: str
    tensor: str
    dtype: tf.DType
    rank: int | None

    @property
    def may_be_features(self) -> bool:
        """Whether a batch of videos may go in here."""
        is_number = self.dtype.is_floating or self.dtype == tf.uint8
        return is_number and self.rank in _FEATURE_RANKS

    @property
    def may_be_scores(self) -> bool:
        """Whether the scores of a batch may come out here."""
        return bool(self.dtype.is_floating) and self.rank in _SCORE_RANKS

    def __str__(self) -> str:
        shape = "of unknown rank" if self.rank is None else f"rank {self.rank}"
        return f"'{self.key}' ({self.dtype.name}, {shape})"


def dtype_of(number: int) -> tf.DType:
    """Return a dtype by its number in a file; `variant`, which nothing takes, if there is none."""
    try:
        return tf.as_dtype(number).base_dtype
    except TypeError:
        return tf.variant


def choose_ports(
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    tensors: Mapping[str, str],
    *,
    path: str,
) -> dict[str, str]:
    """Return the tensor names by collection of the contract.

    Features go into the only input that can take them, frame counts into the only other one of
    rank 1; scores are the only output that can be some, or the one called `predictions`.

    Args:
        inputs: What may go in.
        outputs: What may come out.
        tensors: What the user named by collection: a tensor, or what its author calls it.
        path: Where the graph is from, for messages.

    Returns:
        Names for `input_batch_raw` and `predictions`, and for `num_frames` if there are any.

    Raises:
        GraphError: If more than one tensor might be meant, or none.
    """
    by_key = {port.key: port.tensor for port in (*outputs, *inputs)}
    chosen = {
        name: by_key.get(tensor, tensor if ":" in tensor else f"{tensor}:0")
        for name, tensor in tensors.items()
    }
    questions = []
    if "input_batch_raw" not in chosen:
        found = _preferred([port for port in inputs if port.may_be_features], "input_batch_raw")
        if len(found) == 1:
            chosen["input_batch_raw"] = found[0].tensor
        else:
            questions.append(f"`yt8m-ens merge --input-tensor`: it has {_listed(found or inputs)}")
    if "predictions" not in chosen:
        found = _preferred([port for port in outputs if port.may_be_scores], "predictions")
        if len(found) == 1:
            chosen["predictions"] = found[0].tensor
        else:
            questions.append(
                f"`yt8m-ens merge --predictions-tensor`: it has {_listed(found or outputs)}"
            )
    if questions:
        msg = f"'{path}' does not tell its ends. Name them with {'; and with '.join(questions)}."
        raise GraphError(msg, path=path, inputs=_keys(inputs), outputs=_keys(outputs))
    counts = [port for port in inputs if port.rank == 1 and port.dtype != tf.string]
    if "num_frames" not in chosen and len(counts) == 1:
        chosen["num_frames"] = counts[0].tensor
    return chosen


def _preferred(ports: Sequence[Port], key: str) -> Sequence[Port]:
    """Return the one that is called as the contract calls it, else all."""
    return [port for port in ports if port.key == key] or ports


def _listed(ports: Sequence[Port]) -> str:
    return ", ".join(map(str, ports)) or "none that can be told"


def _keys(ports: Sequence[Port]) -> tuple[str, ...]:
    return tuple(port.key for port in ports)
