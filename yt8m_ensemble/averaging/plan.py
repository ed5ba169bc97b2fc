"""What an average will hold, decided from names, shapes, dtypes and counters. Reads no weight.

Counters (`global_step` and its like) take the newest input's value; other integers, booleans and
strings must be equal in all inputs and are never divided.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble.errors import CheckpointError, TensorMismatchError
from yt8m_ensemble.values import DictSource
from yt8m_ensemble.values.dtypes import AVERAGEABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.values import TensorSource, TensorSpec

_SHOWN = 3
_COUNTER = re.compile(
    r"(.*/)?(global_step|save_counter|_?iterations|iter|step)(/\.ATTRIBUTES/VARIABLE_VALUE)?"
)
_SLOT = re.compile(
    r"(?P<variable>.+)/(Adam|AdaMax|Momentum|RMSProp|Adagrad|Adadelta|Ftrl|m|v"
    r"|ExponentialMovingAverage)(_\d+)?"
)
_POWER = re.compile(r"(.*/)?beta[12]_power(_\d+)?")
# Keras files keep an optimizer in a group of its own.
_KERAS_OPTIMIZER = ("optimizer/vars/", "optimizer_weights/")
_OBJECT_SLOT = "/.OPTIMIZER_SLOT/"
_OBJECT_OPTIMIZER = re.compile(r"(?P<root>.+?)/(_?iterations|iter)/\.ATTRIBUTES/VARIABLE_VALUE")


@dataclass(frozen=True)
class AveragePlan:
    """Tensors that are averaged, copied and dropped.

    Args:
        averaged: Tensors to average, in sorted order.
        copied: Values of the tensors that are not averaged.
        dropped: Names of the optimizer's tensors that are left out.
    """

    averaged: tuple[TensorSpec, ...]
    copied: Mapping[str, NDArray[Any]]
    dropped: tuple[str, ...]

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """The tensors of the average by name, in sorted order."""
        specs = {**DictSource(self.copied).specs(), **{spec.name: spec for spec in self.averaged}}
        return dict(sorted(specs.items()))

    def override(self, values: Mapping[str, NDArray[Any]]) -> AveragePlan:
        """Return a plan in which some tensors have given values in place of the mean."""
        averaged = tuple(spec for spec in self.averaged if spec.name not in values)
        return replace(self, averaged=averaged, copied={**self.copied, **values})


def plan_average(
    sources: Mapping[str, TensorSource], *, newest: str, keep_optimizer: bool = False
) -> AveragePlan:
    """Check that checkpoints fit together and decide what becomes of each tensor.

    Reads only tensors that are not averaged: counters, integers, strings.

    Args:
        sources: The checkpoints by the name that messages call them.
        newest: Which of them is the newest; its counters are taken.
        keep_optimizer: Average the optimizer's slots too, in place of leaving them out.

    Returns:
        The plan.

    Raises:
        TensorMismatchError: If names, shapes, dtypes or integers differ.
        CheckpointError: If nothing is left to average.
    """
    specs = {label: source.specs() for label, source in sources.items()}
    dropped: set[str] = set()
    if not keep_optimizer:
        dropped.update(*map(find_optimizer_tensors, specs.values()))
    kept = {
        label: {name: spec for name, spec in of.items() if name not in dropped}
        for label, of in specs.items()
    }
    first = next(iter(sources))
    for label in sources:
        _check_alike(first, kept[first], label, kept[label])
    names = sorted(kept[newest])
    averaged = tuple(kept[newest][n] for n in names if kept[newest][n].dtype in AVERAGEABLE)
    if not averaged:
        msg = f"'{newest}' holds no float tensor to average."
        raise CheckpointError(msg, checkpoint=newest)
    copied = {
        name: _common_value(name, sources, newest)
        for name in names
        if kept[newest][name].dtype not in AVERAGEABLE
    }
    return AveragePlan(averaged, copied, tuple(sorted(dropped)))


def find_optimizer_tensors(names: Iterable[str]) -> frozenset[str]:
    """Return the names that belong to an optimizer: slots, powers, shadow averages.

    A slot is recognised by its last part, as TensorFlow 1's optimizers name it, and only if the
    variable it belongs to is there too, so that a layer called `Adam` is safe. In an object-based
    checkpoint an optimizer is what holds `iterations`.

    Examples:
        >>> sorted(find_optimizer_tensors(["w", "w/Adam", "w/Adam_1", "beta1_power", "Adam"]))
        ['beta1_power', 'w/Adam', 'w/Adam_1']
    """
    all_names = set(names)
    roots = {match["root"] for n in all_names if (match := _OBJECT_OPTIMIZER.fullmatch(n))}
    return frozenset(
        name
        for name in all_names
        if _POWER.fullmatch(name)
        or _OBJECT_SLOT in name
        or name.startswith(_KERAS_OPTIMIZER)
        or ((slot := _SLOT.fullmatch(name)) and slot["variable"] in all_names)
        or any(
            # Keras 3 lists a model's own weights among its optimizer's.
            name.startswith(f"{root}/") and not name.startswith(f"{root}/_trainable_variables/")
            for root in roots
        )
    )


def _check_alike(
    first: str, a: Mapping[str, TensorSpec], second: str, b: Mapping[str, TensorSpec]
) -> None:
    """Refuse two checkpoints whose tensors differ, naming the first few.

    Raises:
        TensorMismatchError: If names, shapes or dtypes differ.
    """
    differences = []
    for name in sorted(a.keys() | b.keys()):
        if name not in a or name not in b:
            where, missing = (first, second) if name in a else (second, first)
            differences.append(f"'{name}' is in '{where}' but not in '{missing}'")
        elif a[name].shape != b[name].shape:
            differences.append(
                f"'{name}' is {a[name].shape} in '{first}' but {b[name].shape} in '{second}'"
            )
        elif a[name].dtype != b[name].dtype:
            differences.append(
                f"'{name}' is {a[name].dtype} in '{first}' but {b[name].dtype} in '{second}'"
            )
    if differences:
        more = len(differences) - _SHOWN
        msg = (
            f"Cannot average: {'; '.join(differences[:_SHOWN])}"
            f"{f'; {more} more tensors differ' if more > 0 else ''}. "
            f"List them with `yt8m-ens inspect {first} --diff {second}`."
        )
        raise TensorMismatchError(
            msg, checkpoints=(first, second), count=len(differences), differences=differences
        )


def _common_value(name: str, sources: Mapping[str, TensorSource], newest: str) -> NDArray[Any]:
    """Return the value of a tensor that is not averaged.

    Raises:
        TensorMismatchError: If it is no counter and the checkpoints hold different values.
    """
    value = np.asarray(sources[newest].read(name))
    if _COUNTER.fullmatch(name):
        return value
    for label, source in sources.items():
        if not np.array_equal(value, source.read(name)):
            msg = (
                f"'{name}' ({value.dtype}) holds one value in '{newest}' and another in '{label}', "
                "and only float tensors are averaged. Choose checkpoints in which it is equal."
            )
            raise TensorMismatchError(msg, tensor=name, checkpoints=(newest, label))
    return value
