"""Checks of a model's files against the graph contract, one named check a point; runs nothing.

The checks are those of the official readers: what they crash on, or silently do wrong.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from yt8m_ensemble.constants import INFERENCE_MODEL, MAX_BUNDLE_BYTES
from yt8m_ensemble.errors import EnsembleError
from yt8m_ensemble.packaging.layouts import size_text
from yt8m_ensemble.values import READERS, Bundle, Check, TensorSpec, parse_feature_spec
from yt8m_ensemble.values.dtypes import DTYPE_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

# TensorFlow's messages carry no types for a checker; these names tell a reader which is meant.
MetaGraphDef = Any
NodeDef = Any

POLICY_CHECK: Final = "runs only allowed operations"
"""Name of the check that `graphs.check_graph` makes."""

_FED_CHECK: Final = "predictions need only what is fed"
RUN_CHECKS: Final = frozenset({POLICY_CHECK, _FED_CHECK})
"""Names of the checks that must hold before a stranger's graph is run: else it may do harm, or wait
for ever."""

_OURS: Final = ("ours",)  # no official reader minds

SIGNATURES: Final = {
    "serving_default": (("example_bytes",), ("video_id", "class_indexes", "predictions")),
    "features": (("input_batch_raw", "num_frames"), ("predictions",)),
}
"""Inputs and outputs of the signatures of a SavedModel."""

_CONTRACT: Final = ("input_batch_raw", "num_frames", "predictions")
_SHOWN: Final = 3
_VARIABLE_OPS: Final = frozenset({"Variable", "VariableV2", "VarHandleOp"})
_PYTHON_OPS: Final = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
_FILE_OPS: Final = frozenset(
    {
        "InitializeTableFromTextFile",
        "InitializeTableFromTextFileV2",
        "MatchingFiles",
        "ReadFile",
        "WriteFile",
    }
)
_PLACEHOLDERS: Final = frozenset({"Placeholder", "PlaceholderV2"})
_READER_OPS: Final = re.compile("Queue|Reader|Iterator|Dataset")
# The official reader builds its own input before it imports the graph, all below this name.
_READER_SCOPE: Final = "input"


def check_archive(bundle: Bundle, *, max_size: int = MAX_BUNDLE_BYTES) -> list[Check]:
    """Check what an archive promises before its graph is looked at.

    Args:
        bundle: What `list_bundle` found.
        max_size: Most uncompressed bytes that the rules allow.

    Returns:
        The checks: both official readers find the files, and the size is allowed.
    """
    return [
        *(
            Check(
                f"reader of {year} finds the files",
                year in bundle.readers,
                f"looks {place}",
                readers=(year, "ours"),
            )
            for year, place in (("2018", "at the root"), ("2019", f"under '{INFERENCE_MODEL}/'"))
        ),
        Check(
            "uncompressed size",
            bundle.nbytes <= max_size,
            f"{size_text(bundle.nbytes)} of {size_text(max_size)} allowed",
        ),
    ]


def check_signatures(meta: MetaGraphDef) -> list[Check]:
    """Check that a SavedModel has the two signatures that `package` gives it.

    Args:
        meta: Its `MetaGraphDef`.

    Returns:
        A check a signature, of its inputs and outputs.
    """
    found = {
        name: (set(signature.inputs), set(signature.outputs))
        for name, signature in meta.signature_def.items()
    }
    return [
        Check(
            f"signature {name}",
            found.get(name) == (set(inputs), set(outputs)),
            f"{', '.join(inputs)} → {', '.join(outputs)}" if name in found else "absent",
            readers=_OURS,
        )
        for name, (inputs, outputs) in SIGNATURES.items()
    ]


def check_model(
    meta: MetaGraphDef, *, flags: Mapping[str, Any], specs: Mapping[str, TensorSpec]
) -> list[Check]:
    """Check a model's graph, flags and checkpoint against the contract.

    Args:
        meta: The `MetaGraphDef`.
        flags: The content of `model_flags.json`.
        specs: The checkpoint's tensors by name.

    Returns:
        One check for each point of the contract, in a fixed order.
    """
    nodes = {node.name: node for node in meta.graph_def.node}
    inside = [node for f in meta.graph_def.library.function for node in f.node_def]
    every = [*nodes.values(), *inside]
    return [
        _check_flags(flags),
        *_check_collections(meta, nodes),
        *_check_shapes(meta, nodes, flags),
        _none(
            "no queue runners",
            meta.collection_def["queue_runners"].bytes_list.value,
            lambda runner: f"one of {len(runner)} bytes",
        ),
        _none(
            "no readers or queues",
            (node for node in every if _READER_OPS.search(node.op)),
            _describe,
            readers=_OURS,
        ),
        _none(
            "no Python functions",
            (node for node in every if node.op in _PYTHON_OPS),
            _describe,
            readers=_OURS,
        ),
        _none(
            "touches no files",
            (node for node in every if node.op in _FILE_OPS),
            _describe,
            readers=_OURS,
        ),
        _none(
            "no device strings",
            (node for node in every if node.device),
            lambda node: f"'{node.name}' on {node.device}",
            readers=_OURS,
        ),
        _none(
            "predictions hang on no default",
            (
                nodes[name]
                for name in sorted(_needed(meta, nodes))
                if nodes[name].op == "PlaceholderWithDefault"
            ),
            _describe,
            readers=_OURS,
        ),
        _none(
            "no names of the reader's own",
            (name for name in nodes if name.split("/")[0] == _READER_SCOPE),
            repr,
        ),
        _check_saver(meta, nodes),
        _none(
            _FED_CHECK,
            (
                nodes[name]
                for name in sorted(_needed(meta, nodes))
                if nodes[name].op in _PLACEHOLDERS or _READER_OPS.search(nodes[name].op)
            ),
            _describe,
        ),
        _check_restored(nodes, specs),
        _check_filled(meta, nodes),
    ]


def _check_flags(flags: Mapping[str, Any]) -> Check:
    try:
        spec = parse_feature_spec(flags)
    except (EnsembleError, KeyError) as error:
        return Check("model_flags.json", is_ok=False, detail=str(error))
    level = "frame" if spec.frame_level else "video"
    return Check("model_flags.json", is_ok=True, detail=f"{level} level, {', '.join(spec.names)}")


def _check_collections(meta: MetaGraphDef, nodes: Mapping[str, NodeDef]) -> Iterator[Check]:
    for name in _CONTRACT:
        found = list(meta.collection_def[name].node_list.value)
        missing = [tensor for tensor in found[:1] if tensor.split(":")[0] not in nodes]
        detail = f"'{found[0]}'" if found else "absent"
        if missing:
            detail += " is not in the graph"
        yield Check(f"collection {name}", bool(found) and not missing, detail)


def _check_shapes(
    meta: MetaGraphDef, nodes: Mapping[str, NodeDef], flags: Mapping[str, Any]
) -> Iterator[Check]:
    """Yield the check of the input against the features, where the graph tells its shape."""
    tensors = list(meta.collection_def["input_batch_raw"].node_list.value)
    node = nodes.get(tensors[0].split(":")[0]) if tensors else None
    if node is None or node.op != "Placeholder":
        return
    try:
        spec = parse_feature_spec(flags)
    except (EnsembleError, KeyError):
        return
    shape = node.attr["shape"].shape
    sizes = [int(dim.size) for dim in shape.dim]
    wanted = [-1, -1, spec.total_size] if spec.frame_level else [-1, spec.total_size]
    fits = shape.unknown_rank or (
        len(sizes) == len(wanted)
        and all(
            -1 in (have, want) or have == want for have, want in zip(sizes, wanted, strict=True)
        )
    )
    shown = "x".join("?" if size < 0 else str(size) for size in sizes)
    expected = "x".join("?" if size < 0 else str(size) for size in wanted)
    yield Check("input takes the features", fits, f"{shown}, features are {expected}")


def _check_saver(meta: MetaGraphDef, nodes: Mapping[str, NodeDef]) -> Check:
    saver = meta.saver_def
    if not saver.restore_op_name:
        # The reader then makes a saver of its own over these.
        variables = meta.collection_def["variables"].bytes_list.value
        detail = f"no saver_def, {len(variables)} in the collection 'variables'"
        return Check("saver", bool(variables), detail)
    named = (saver.restore_op_name, saver.filename_tensor_name.split(":")[0])
    missing = [name for name in named if name not in nodes]
    if missing:
        return Check("saver", is_ok=False, detail=f"names '{missing[0]}', not in the graph")
    is_sharded_format = saver.version == saver.V2
    detail = f"'{saver.restore_op_name}', format version {saver.version}"
    return Check("saver", is_sharded_format, detail)


def _check_restored(nodes: Mapping[str, NodeDef], specs: Mapping[str, TensorSpec]) -> Check:
    """Return whether restoring finds every tensor, in the dtype that it asks for."""
    wanted: dict[str, str] = {}
    for node in nodes.values():
        names = nodes.get(_node_name(node.input[1])) if node.op == "RestoreV2" else None
        if names is not None and names.op == "Const":
            keys = [key.decode() for key in names.attr["value"].tensor.string_val]
            dtypes = [DTYPE_NAMES.get(number, "") for number in node.attr["dtypes"].list.type]
            # One value may stand for many: a constant drops the repeats at its end.
            wanted |= dict(zip(keys, dtypes, strict=False))
    wrong = [
        f"'{name}' is absent" if name not in specs else f"'{name}' is {specs[name].dtype}"
        for name, dtype in wanted.items()
        if name not in specs or specs[name].dtype != dtype
    ]
    return Check(
        "checkpoint holds what is restored",
        bool(wanted) and not wrong,
        listing(wrong) or f"{len(wanted)} tensors",
    )


def _check_filled(meta: MetaGraphDef, nodes: Mapping[str, NodeDef]) -> Check:
    """Return whether restoring fills every variable which the predictions depend on."""
    filled = {
        _node_name(node.input[0])
        for node in nodes.values()
        if node.op in ("Assign", "AssignVariableOp") and _is_restored(nodes, node.input[1])
    }
    variables = {name for name in _needed(meta, nodes) if nodes[name].op in _VARIABLE_OPS}
    unfilled = [f"'{name}'" for name in sorted(variables - filled)]
    return Check(
        "every variable is restored",
        not unfilled,
        listing(unfilled) or f"{len(variables)} variables",
    )


def _is_restored(nodes: Mapping[str, NodeDef], value: str) -> bool:
    """Return whether a value comes from a checkpoint, as is or joined from partitions."""
    node = nodes.get(_node_name(value))
    if node is not None and node.op in ("Identity", "ConcatV2", "Reshape"):
        return _is_restored(nodes, node.input[0])
    return node is not None and node.op == "RestoreV2"


def _needed(meta: MetaGraphDef, nodes: Mapping[str, NodeDef]) -> set[str]:
    """Return the names of the nodes that the predictions depend on once the inputs are fed."""
    first = {
        name: [_node_name(value) for value in meta.collection_def[name].node_list.value[:1]]
        for name in _CONTRACT
    }
    fed = {*first["input_batch_raw"], *first["num_frames"]}
    waiting, seen = first["predictions"], set[str]()
    while waiting:
        name = waiting.pop()
        if name in nodes and name not in fed and name not in seen:
            seen.add(name)
            waiting.extend(map(_node_name, nodes[name].input))
    return seen


def _node_name(value: str) -> str:
    return value.removeprefix("^").split(":")[0]


def _none(
    name: str,
    found: Iterable[Any],
    describe: Callable[[Any], str],
    *,
    readers: tuple[str, ...] = READERS,
) -> Check:
    """Return whether there is nothing of a kind; list the first few if there is."""
    listed = listing([describe(item) for item in found])
    return Check(name, is_ok=not listed, detail=listed or "none", readers=readers)


def _describe(node: NodeDef) -> str:
    return f"{node.op} '{node.name}'"


def listing(items: list[str]) -> str:
    """Return the first few items and how many more there are."""
    more = f"; {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return "; ".join(items[:_SHOWN]) + more
