"""Checks of a graph's operations and attributes against those that TensorFlow 1.14 knows.

The table was made from that version's own registry (`tests/interop/make_operation_table.py`, and a
test that makes it again). Its importer refuses a graph with an operation that it does not know, or
with an attribute that it does not know, unless the graph lists its own operations and the attribute
stands at the default listed there.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from yt8m_ensemble.packaging.structure import MetaGraphDef, NodeDef, listing
from yt8m_ensemble.values import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

_TABLE: Final = "tensorflow_1_14.json"
_REF_OFFSET: Final = 100
"""A reference dtype's number is its value dtype's plus this (`types.proto`)."""

MemberOf = Callable[[str], str | None]
"""From an operation's name to the member that it belongs to."""


@dataclass(frozen=True)
class OperationTable:
    """Operations and attributes that one TensorFlow version knows.

    Args:
        made: How the table was made.
        tensorflow: The version.
        graph_version: The newest graph version that it reads.
        operations: By operation, each attribute's type, `?` if it has a default, and `:` with the
            values that it is limited to.
    """

    made: str
    tensorflow: str
    graph_version: int
    operations: Mapping[str, Mapping[str, str]]


@functools.cache
def load_operation_table() -> OperationTable:
    """Return the table that ships with the package."""
    text = resources.files("yt8m_ensemble.packaging").joinpath(_TABLE).read_text()
    return OperationTable(**json.loads(text))


def check_operations(meta: MetaGraphDef, *, member_of: MemberOf = lambda _: None) -> list[Check]:
    """Check a graph's operations and attributes, those inside its functions too.

    Args:
        meta: The `MetaGraphDef`.
        member_of: Tells the member that an operation belongs to.

    Returns:
        Three checks: graph version, operations, attributes. What is unknown is named, with the
        member.
    """
    table = load_operation_table()
    library = {function.signature.name: function for function in meta.graph_def.library.function}
    nodes = [
        *((node, member_of(node.name)) for node in meta.graph_def.node),
        *(
            (node, member_of(name) or f"function {name}")
            for name, function in library.items()
            for node in function.node_def
        ),
    ]
    unknown = [
        _name(node, where)
        for node, where in nodes
        if node.op not in table.operations and node.op not in library
    ]
    listed = {op.name: op for op in meta.meta_info_def.stripped_op_list.op}
    faults = [
        f"{fault} of {_name(node, where)}"
        for node, where in nodes
        if node.op in table.operations
        for fault in _attribute_faults(node, table.operations[node.op], listed.get(node.op))
    ]
    needed = meta.graph_def.versions.min_consumer
    title = f"of TensorFlow {table.tensorflow}"
    return [
        Check(
            f"graph version {title}",
            needed <= table.graph_version,
            f"needs {needed}, it reads {table.graph_version}",
        ),
        Check(f"operations {title}", not unknown, listing(unknown) or f"{len(nodes)} operations"),
        Check(f"attributes {title}", not faults, listing(faults) or "known or at their defaults"),
    ]


def _attribute_faults(
    node: NodeDef, known: Mapping[str, str], producer: Any | None
) -> Iterator[str]:
    """Yield what the importer would refuse of one operation's attributes."""
    defaults = {
        attribute.name: attribute.default_value
        for attribute in (producer.attr if producer is not None else ())
        if attribute.HasField("default_value")
    }
    for name, value in node.attr.items():
        if name.startswith("_"):
            continue
        if name not in known:
            if defaults.get(name) != value:
                yield f"unknown '{name}'"
        elif wrong := _forbidden(known[name], value):
            yield f"'{name}' = {wrong}"
    for name, kind in known.items():
        if name not in node.attr and not kind.split(":")[0].endswith("?"):
            yield f"missing '{name}'"


def _forbidden(kind: str, value: Any) -> str:
    """Return a value that the attribute may not have, or nothing."""
    _, _, allowed = kind.partition(":")
    if not allowed:
        return ""
    options = set(allowed.split(","))
    if kind.startswith("type"):
        found = [value.type]
    elif kind.startswith("list(type)"):
        found = list(value.list.type)
    else:
        text = value.s.decode()
        return "" if text in options else f"'{text}'"
    wrong = [number for number in found if str(number % _REF_OFFSET) not in options]
    return f"dtype {wrong[0]}" if wrong else ""


def _name(node: NodeDef, where: str | None) -> str:
    return f"{node.op} '{node.name}'" + (f" ({where})" if where else "")
