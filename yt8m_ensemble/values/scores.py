"""Predictions, labels and mixture weights: what scoring, mixing and tuning hand to each other.

Validated when made; numpy only. Never opens a file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import numpy as np

from yt8m_ensemble.constants import BIAS_VARIABLE, MIXTURE_VARIABLE, TEMPERATURE_VARIABLE
from yt8m_ensemble.decoding import convert_json, decode_json
from yt8m_ensemble.errors import AlignmentError, MixtureWeightsError, ShapeError
from yt8m_ensemble.options.choices import Space

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

SPACES: tuple[Space, ...] = get_args(Space)
SUM_TOLERANCE = 1e-9
CLASS_SUM_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Labels:
    """Positive classes of each video in compressed sparse rows.

    Video n is labelled with `class_ids[indptr[n]:indptr[n + 1]]`.

    Args:
        video_ids: Shape `(N,)`, bytes.
        indptr: Shape `(N + 1,)`, int64, rising from 0.
        class_ids: Shape `(number of positives,)`, int32, each in `[0, num_classes)`.
        num_classes: Classes in all.

    Raises:
        ShapeError: If the arrays do not fit together.
    """

    video_ids: NDArray[np.bytes_]
    indptr: NDArray[np.int64]
    class_ids: NDArray[np.int32]
    num_classes: int

    def __post_init__(self) -> None:
        fits = (
            self.indptr.shape == (len(self.video_ids) + 1,)
            and self.indptr[0] == 0
            and self.indptr[-1] == len(self.class_ids)
            and bool(np.all(np.diff(self.indptr) >= 0))
        )
        if not fits:
            msg = (
                f"Label rows do not fit: {len(self.video_ids)} videos, {len(self.indptr)} row "
                f"pointers, {len(self.class_ids)} class ids."
            )
            raise ShapeError(msg)
        if len(self.class_ids) and not 0 <= self.class_ids.min() <= self.class_ids.max() < (
            self.num_classes
        ):
            msg = (
                f"Labels run from {self.class_ids.min()} to {self.class_ids.max()}, "
                f"expected 0 to {self.num_classes - 1}. Use labels of the same classes."
            )
            raise ShapeError(msg, num_classes=self.num_classes)

    @property
    def num_positives(self) -> int:
        """Positive (video, class) pairs in all."""
        return len(self.class_ids)

    @classmethod
    def from_dense(cls, video_ids: NDArray[np.bytes_], labels: NDArray[np.bool_]) -> Labels:
        """Return the sparse rows of a bool matrix of shape `(N, C)`.

        Examples:
            >>> ids = np.array([b"a", b"b"])
            >>> Labels.from_dense(ids, np.array([[True, False], [True, True]])).class_ids
            array([0, 0, 1], dtype=int32)
        """
        rows, classes = np.nonzero(labels)
        indptr = np.searchsorted(rows, np.arange(len(labels) + 1)).astype(np.int64)
        return cls(video_ids, indptr, classes.astype(np.int32), labels.shape[1])

    def to_dense(self, start: int = 0, stop: int | None = None) -> NDArray[np.bool_]:
        """Return rows `start:stop` as a bool matrix of shape `(stop - start, num_classes)`."""
        stop = len(self.video_ids) if stop is None else stop
        dense = np.zeros((stop - start, self.num_classes), np.bool_)
        indptr = self.indptr[start : stop + 1]
        rows = np.repeat(np.arange(stop - start), np.diff(indptr))
        dense[rows, self.class_ids[indptr[0] : indptr[-1]]] = True
        return dense

    def select(self, rows: NDArray[np.int64]) -> Labels:
        """Return the labels of the given rows, in their order."""
        counts = np.diff(self.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        # Position of every kept class id: its row's start plus its place in the row.
        places = np.arange(indptr[-1]) - np.repeat(indptr[:-1], counts)
        class_ids = self.class_ids[np.repeat(self.indptr[rows], counts) + places]
        return Labels(self.video_ids[rows], indptr, class_ids, self.num_classes)


@dataclass(frozen=True)
class Predictions:
    """Scores of one or more members in memory.

    Args:
        members: Member names.
        video_ids: Shape `(N,)`, bytes.
        scores: Shape `(M, N, C)`, float32, confidences in `[0, 1]`.
        labels: Ground truth of the same videos; without positives where the records have none.

    Raises:
        ShapeError: If members, videos and scores do not pair up.
    """

    members: tuple[str, ...]
    video_ids: NDArray[np.bytes_]
    scores: NDArray[np.floating]
    labels: Labels

    def __post_init__(self) -> None:
        expected = (len(self.members), len(self.video_ids))
        if self.scores.shape[:-1] != expected:
            msg = (
                f"Scores of {', '.join(self.members)} have shape {self.scores.shape}, expected "
                f"{(*expected, 'classes')}."
            )
            raise ShapeError(msg, members=self.members, shape=self.scores.shape)

    def of(self, member: str) -> NDArray[np.floating]:
        """Return the scores of one member, shape `(N, C)`, float32."""
        found: NDArray[np.floating] = self.scores[self.members.index(member)]
        return found


def check_aligned(
    left: NDArray[np.bytes_], right: NDArray[np.bytes_], *, names: tuple[str, str]
) -> None:
    """Refuse video ids that are not the same videos in the same order.

    Raises:
        AlignmentError: If they differ; says how many videos both hold.
    """
    if len(left) == len(right) and bool(np.all(left == right)):
        return
    overlap = len(np.intersect1d(left, right))
    msg = (
        f"'{names[0]}' and '{names[1]}' do not hold the same videos in the same order: "
        f"{len(left)} and {len(right)} videos, {overlap} in both. Make them from the same records, "
        "or keep the shared ones, as `yt8m-ens tune-weights --intersect` does."
    )
    raise AlignmentError(msg, sizes=(len(left), len(right)), overlap=overlap)


class _MixtureFile(msgspec.Struct):
    """Keys of a mixture-weights file that make up the mixture."""

    members: list[str]
    weights: list[float]
    space: Space
    format: int = 1
    class_weights: list[list[float]] = []
    class_bias: list[float] = []
    temperature: float = 1.0


_DETAILS = frozenset(
    {
        "method", "seed", "holdout", "folds", "predictions", "gap_in_sample", "gap_out_of_fold",
        "gap_held_out", "chosen_by", "shrinkage", "dropped", "bias_precision", "precisions",
        "size_bytes", "frontier", "proof", "judgements", "num_trained_on",
    }
)  # fmt: skip
"""Keys of a mixture-weights file that say how the mixture was found."""

MIXTURE_FORMAT = 2


@dataclass(frozen=True)
class MixtureWeights:
    """Weight of each member, and the space in which members are averaged.

    Args:
        names: Member names, all different.
        values: Weights in the same order, float64, each ≥ 0, summing to 1 ± 1e-9.
        space: Where the average is taken.
        details: How the weights were found (method, GAP, seed, digests), JSON-able.
        class_values: Weights that differ from class to class: for each member a row of C weights,
            which over the members sum to 1 ± 1e-6 in every class. Empty if all classes share
            `values`; else `values` is what the rows were shrunk towards.
        class_bias: Number added to each class's mean logit, C finite numbers; in logit space only.
            Empty stands for zeros.
        temperature: Divisor of the biased mean logit, above 0; in logit space only.

    Raises:
        MixtureWeightsError: If the weights are no mixture.

    Examples:
        >>> MixtureWeights.uniform(["a", "b"]).values
        (0.5, 0.5)
    """

    names: tuple[str, ...]
    values: tuple[float, ...]
    space: Space = "probability"
    details: Mapping[str, Any] = field(default_factory=dict)
    class_values: tuple[tuple[float, ...], ...] = ()
    class_bias: tuple[float, ...] = ()
    temperature: float = 1.0

    def __post_init__(self) -> None:
        listed = ", ".join(f"{n} {v:g}" for n, v in zip(self.names, self.values, strict=False))
        if len(self.names) != len(self.values) or not self.names:
            msg = (
                f"{len(self.values)} mixture weights for {len(self.names)} members; give one each."
            )
            raise MixtureWeightsError(msg, names=self.names, values=self.values)
        if len(set(self.names)) != len(self.names):
            msg = f"A member is listed twice: {', '.join(self.names)}. Give each its own name."
            raise MixtureWeightsError(msg, names=self.names)
        if self.space not in SPACES:
            msg = f"Mixing space '{self.space}' is unknown; one of {', '.join(SPACES)}."
            raise MixtureWeightsError(msg, space=self.space)
        if not all(np.isfinite(v) and v >= 0 for v in self.values):
            msg = f"Mixture weights must be finite and at least 0: {listed}."
            raise MixtureWeightsError(msg, values=self.values)
        total = float(np.sum(np.asarray(self.values, np.float64)))
        if abs(total - 1) > SUM_TOLERANCE:
            msg = (
                f"Mixture weights sum to {total:.6g} ({listed}), expected 1. "
                "Rescale them, as `yt8m-ens merge --normalize` does."
            )
            raise MixtureWeightsError(msg, values=self.values, total=total)
        if self.class_values:
            self._check_class_values()
        self._check_logit_parts()

    def _check_logit_parts(self) -> None:
        """Refuse a bias or temperature that is not finite, or outside logit space.

        Raises:
            MixtureWeightsError: If there is one.
        """
        if (self.class_bias or self.temperature != 1) and self.space != "logit":
            msg = (
                f"The mixture is taken in {self.space} space; a class bias or a temperature goes "
                "with logit space only."
            )
            raise MixtureWeightsError(msg, space=self.space)
        if not np.isfinite(self.class_bias).all():
            class_id = int(np.argmin(np.isfinite(self.class_bias)))
            msg = f"The bias of class {class_id} is {self.class_bias[class_id]}, expected a number."
            raise MixtureWeightsError(msg, class_id=class_id)
        if self.class_values and self.class_bias:
            rows = len(self.class_values[0])
            if rows != len(self.class_bias):
                msg = f"{len(self.class_bias)} biases for weights of {rows} classes."
                raise MixtureWeightsError(msg, biases=len(self.class_bias), classes=rows)
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            msg = f"The temperature is {self.temperature}, expected a number above 0."
            raise MixtureWeightsError(msg, temperature=self.temperature)

    def _check_class_values(self) -> None:
        """Refuse rows that are no mixture in every class.

        Raises:
            MixtureWeightsError: If they are not.
        """
        lengths = sorted({len(row) for row in self.class_values})
        if len(self.class_values) != len(self.names) or len(lengths) != 1:
            msg = (
                f"{len(self.class_values)} rows of {lengths} class weights for {len(self.names)} "
                "members; give each member one row with a weight for every class."
            )
            raise MixtureWeightsError(msg, rows=len(self.class_values), lengths=lengths)
        rows = np.asarray(self.class_values, np.float64)
        wrong = ~(np.isfinite(rows) & (rows >= 0)).all(axis=0)
        wrong |= ~(np.abs(rows.sum(axis=0) - 1) <= CLASS_SUM_TOLERANCE)
        if wrong.any():
            class_id = int(np.argmax(wrong))
            msg = (
                f"The weights of class {class_id} are {rows[:, class_id].tolist()}; expected "
                "numbers of at least 0 that sum to 1."
            )
            raise MixtureWeightsError(msg, class_id=class_id)

    @property
    def factors(self) -> NDArray[np.float32]:
        """Factors of members' scores in a graph, shape `(M,)`, or `(M, C)` by class."""
        return np.asarray(self.class_values or self.values, np.float32)

    @property
    def num_classes(self) -> int | None:
        """Classes that it is of; `None` if it holds nothing by class."""
        return len(self.class_bias or (self.class_values or ((),))[0]) or None

    def graph_values(self, num_classes: int) -> dict[str, NDArray[np.float32]]:
        """Return what a merged graph holds of the mixture, by the name of the variable.

        Args:
            num_classes: Classes C of the graph.

        Returns:
            Weights `(M,)` or `(M, C)`; in logit space also the bias `(C,)`, zeros if there is
            none, and the temperature, a scalar. All float32.
        """
        held = {MIXTURE_VARIABLE: self.factors}
        if self.space == "logit":
            bias = np.asarray(self.class_bias or np.zeros(num_classes), np.float32)
            held[BIAS_VARIABLE] = bias
            held[TEMPERATURE_VARIABLE] = np.array(self.temperature, np.float32)
        return held

    def reordered(self, names: Sequence[str]) -> MixtureWeights:
        """Return the same mixture with its members, all of them, in another order."""
        order = [self.names.index(name) for name in names]
        return replace(
            self,
            names=tuple(names),
            values=tuple(self.values[place] for place in order),
            class_values=tuple(self.class_values[place] for place in order if self.class_values),
        )

    @property
    def array(self) -> NDArray[np.float64]:
        """The weights, shape `(M,)`, float64."""
        return np.asarray(self.values, np.float64)

    @classmethod
    def uniform(cls, names: Sequence[str], *, space: Space = "probability") -> MixtureWeights:
        """Return weights that count all members alike."""
        return cls(tuple(names), (1.0 / len(names),) * len(names), space)

    @classmethod
    def normalized(
        cls, names: Sequence[str], values: Sequence[float], *, space: Space = "probability"
    ) -> MixtureWeights:
        """Return weights rescaled to sum to one.

        Raises:
            MixtureWeightsError: If they are negative, not finite, or all zero.
        """
        total = float(np.sum(np.asarray(values, np.float64)))
        if not np.isfinite(total) or total <= 0:
            msg = f"Mixture weights sum to {total:g}; at least one must be above 0."
            raise MixtureWeightsError(msg, values=tuple(values))
        return cls(tuple(names), tuple(float(v) / total for v in values), space)

    def to_dict(self) -> dict[str, Any]:
        """Return what a mixture-weights file holds."""
        return {
            "format": MIXTURE_FORMAT,
            "members": list(self.names),
            "weights": list(self.values),
            "space": self.space,
            **self.details,
            **({"class_weights": self.class_values} if self.class_values else {}),
            **({"class_bias": self.class_bias} if self.class_bias else {}),
            **({"temperature": self.temperature} if self.temperature != 1 else {}),
        }

    def to_json(self) -> str:
        """Return the text of a mixture-weights file."""
        return json.dumps(self.to_dict(), indent=2 if self.num_classes is None else None)

    @classmethod
    def parse(cls, text: str | bytes, *, path: str) -> MixtureWeights:
        """Return what the text of a mixture-weights file says.

        Raises:
            MixtureWeightsError: If the text is no such file or its weights are no mixture.
        """
        advice = "`yt8m-ens tune-weights` writes such files."
        data = decode_json(
            text, dict[str, Any], path=path, error=MixtureWeightsError, advice=advice
        )
        known = convert_json(
            data, _MixtureFile, path=path, error=MixtureWeightsError, advice=advice
        )
        if known.format not in {1, MIXTURE_FORMAT}:
            msg = f"'{path}' has format {known.format}, expected 1 or 2. Update the toolkit."
            raise MixtureWeightsError(msg, path=path, format=known.format)
        details = {key: data[key] for key in data if key not in _MixtureFile.__struct_fields__}
        unknown = sorted(set(details) - _DETAILS)
        if unknown and known.format > 1:
            msg = f"'{path}' has an unknown key `{unknown[0]}`. {advice}"
            raise MixtureWeightsError(msg, path=path, keys=unknown)
        rows = tuple(map(tuple, known.class_weights))
        try:
            return cls(
                tuple(known.members), tuple(known.weights), known.space, details, rows,
                tuple(known.class_bias), known.temperature,
            )  # fmt: skip
        except MixtureWeightsError as error:
            msg = f"'{path}' holds no mixture. {error}"
            raise MixtureWeightsError(msg, path=path, **error.details) from error
