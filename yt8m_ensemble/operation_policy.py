"""Which operations of a stranger's graph may run: the table, and what it says of one operation.

The table (`operation_policy.json`) names every operation that TensorFlow 2.21 registers, each once:
allowed (some in certain roles only), chance (random draws) or refused, with a reason a family. What
it does not name is refused. `tests/graphs/list_operations.py` helps to rewrite it.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

_TABLE: Final = "operation_policy.json"

Role = Literal[
    "predictions", "inputs", "signature", "restore", "save", "initializer", "queue runner"
]
"""What a part of a graph is run for. `inputs` is never run, but imported for its shapes."""

ROLES: Final[Mapping[Role, str]] = {
    "predictions": "the predictions",
    "signature": "a signature",
    "inputs": "the inputs",
    "restore": "the restore operation",
    "save": "the save operation",
    "initializer": "an initializer",
    "queue runner": "a queue runner",
}
"""What each role starts from, in words."""


@dataclass(frozen=True)
class Family:
    """Operations of one kind, and why they are allowed or refused.

    Args:
        verdict: `allowed`, `chance` or `refused`.
        family: Its name.
        reason: What its operations do.
        operations: Their names.
        stateful: Why those that TensorFlow calls stateful may run all the same.
        only: The roles in which they may run; empty for all.
        harms_import: Whether those that are stateless do harm even where a graph is only imported.
    """

    verdict: str
    family: str
    reason: str
    operations: tuple[str, ...]
    stateful: str = ""
    only: tuple[Role, ...] = ()
    harms_import: bool = False


@functools.cache
def load_operation_policy() -> Mapping[str, Family]:
    """Return the family of every operation that the table names."""
    text = resources.files("yt8m_ensemble").joinpath(_TABLE).read_text()
    table = json.loads(text)
    found: dict[str, Family] = {}
    for verdict in ("allowed", "chance", "refused"):
        for entry in table[verdict]:
            lists = {key: tuple(entry.get(key, ())) for key in ("operations", "only")}
            family = Family(verdict, **{**entry, **lists})
            found |= dict.fromkeys(family.operations, family)
    return found


def refusal(operation: str, role: Role = "predictions") -> str | None:
    """Return why an operation may not run in a role; `None` if it may.

    Examples:
        >>> refusal("MatMul"), refusal("RestoreV2", "restore"), refusal("ReadFile")
        (None, None, 'reads, writes, moves or lists files')
    """
    family = load_operation_policy().get(operation)
    if family is None:
        return "is no operation of TensorFlow 2.21"
    if family.verdict == "refused":
        return family.reason
    if family.only and role not in family.only:
        return f"may run only from {' or '.join(ROLES[other] for other in family.only)}"
    return None


def is_random(operation: str) -> bool:
    """Return whether an operation draws numbers at random."""
    family = load_operation_policy().get(operation)
    return family is not None and family.verdict == "chance"
