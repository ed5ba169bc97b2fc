"""SavedModel directories of TensorFlow 1 and 2 as inference graphs.

Reads `saved_model.pb` and its signatures; never loads a SavedModel, which would run what it holds.
The weights are a checkpoint at `variables/variables`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from yt8m_ensemble import files
from yt8m_ensemble.constants import SAVED_MODEL_FILE
from yt8m_ensemble.errors import CheckpointNotFoundError, GraphError
from yt8m_ensemble.graphs.bindings import bind_placeholders
from yt8m_ensemble.graphs.graph_limits import check_limits
from yt8m_ensemble.graphs.inference_cut import cut_inference
from yt8m_ensemble.graphs.meta_files import check_graph_size, read_members
from yt8m_ensemble.graphs.model_graph import called_functions, node_name
from yt8m_ensemble.graphs.ports import Port, choose_ports, dtype_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from yt8m_ensemble.graphs.model_graph import ModelGraph
    from yt8m_ensemble.options import ModelOptions

_SERVE: Final = "serve"
_DEFAULT: Final = "serving_default"
_INTERNAL: Final = "__saved_model"


def load_saved_model(directory: str, options: ModelOptions) -> ModelGraph:
    """Read a SavedModel, check what it would run, and cut it to its inference part.

    The signature is the one that is named, or `serving_default`, or the only one that takes
    features.

    Args:
        directory: The SavedModel.
        options: Which signature, and what else its file does not tell.

    Returns:
        The graph; its variables are named as in the checkpoint `variables/variables`.

    Raises:
        GraphError: If it is none, or its ends cannot be told, or it may not run.
    """
    path = f"{directory.rstrip('/')}/{SAVED_MODEL_FILE}"
    meta = read_serving_graph(directory)
    check_limits(meta, path=path)
    bind_placeholders(meta.graph_def, options.bindings or {}, path=path)
    inputs, outputs = _choose_signature(meta, options, path=path)
    named = choose_ports(inputs, outputs, options.tensors, path=path)
    graph = cut_inference(
        meta,
        named,
        members=dict(read_members(meta)),
        path=path,
        allow_operations=options.allow_operations,
        has_logits=options.logits,
    )
    # Every SavedModel holds a function that saves and one that restores; neither is news.
    own = tuple(f" in function '{name}'" for name in _saver_functions(meta))
    return replace(graph, unreached=tuple(t for t in graph.unreached if not t.endswith(own)))


def read_serving_graph(directory: str) -> Any:
    """Read the `MetaGraphDef` of a SavedModel that serves; nothing of it is checked.

    Args:
        directory: The SavedModel.

    Returns:
        The one that is tagged `serve`, or the only one.

    Raises:
        CheckpointNotFoundError: If there is no `saved_model.pb`.
        GraphError: If that is none, holds no graph, or several and none for serving.
    """
    path = f"{directory.rstrip('/')}/{SAVED_MODEL_FILE}"
    return _serving_graph(_read(path), path=path)


def _saver_functions(meta: Any) -> Iterator[str]:
    saver = meta.saver_def
    names = {node_name(saver.save_tensor_name), node_name(saver.restore_op_name)}
    for node in meta.graph_def.node:
        if node.name in names:
            yield from called_functions(node)


def _read(path: str) -> Any:
    """Return the parsed file.

    Raises:
        CheckpointNotFoundError: If there is none.
        GraphError: If it is no SavedModel, or over 2 GB.
    """
    if not files.exists(path):
        msg = f"There is no '{path}'. Export the model again."
        raise CheckpointNotFoundError(msg, path=path)
    files.check_regular(path)
    check_graph_size(path, files.size(path))
    try:
        saved = SavedModel.FromString(files.read_bytes(path))
    except DecodeError as error:
        msg = f"'{path}' is no SavedModel ({error}). Export the model again."
        raise GraphError(msg, path=path) from error
    if not saved.meta_graphs:
        msg = f"'{path}' holds no graph. Export the model again."
        raise GraphError(msg, path=path)
    return saved


def _serving_graph(saved: Any, *, path: str) -> Any:
    """Return the meta graph for serving.

    Raises:
        GraphError: If there are several and none is for serving.
    """
    graphs = list(saved.meta_graphs)
    for graph in graphs:
        if list(graph.meta_info_def.tags) == [_SERVE]:
            return graph
    if len(graphs) > 1:
        tags = "; ".join(", ".join(graph.meta_info_def.tags) for graph in graphs)
        msg = (
            f"'{path}' holds graphs tagged {tags}, none of them `{_SERVE}`. Export it for serving."
        )
        raise GraphError(msg, path=path)
    return graphs[0]


def _choose_signature(
    meta: Any, options: ModelOptions, *, path: str
) -> tuple[list[Port], list[Port]]:
    """Return the inputs and outputs of the signature to use.

    Raises:
        GraphError: If it is not there, cannot be told, or takes what no batch of features is.
    """
    found = {
        name: (_ports(signature.inputs), _ports(signature.outputs))
        for name, signature in sorted(meta.signature_def.items())
        if not name.startswith(_INTERNAL)
    }
    if options.signature is not None:
        if options.signature not in found:
            listed = ", ".join(found) or "none"
            msg = f"'{path}' has no signature '{options.signature}'. It has {listed}."
            raise GraphError(msg, path=path, signature=options.signature, signatures=tuple(found))
        names = [options.signature]
    elif options.tensors.keys() >= {"input_batch_raw", "predictions"}:
        return [], []
    else:
        names = [n for n, (inputs, _) in found.items() if any(p.may_be_features for p in inputs)]
        names = [_DEFAULT] if _DEFAULT in names else names
    if len(names) == 1:
        _refuse_composite(meta.signature_def[names[0]], name=names[0], path=path)
        return found[names[0]]
    described = "; ".join(
        f"{n} takes {', '.join(map(str, ports))}" for n, (ports, _) in found.items()
    )
    if names:
        advice = "Choose one with `yt8m-ens merge --signature`"
    else:
        advice = (
            "None takes a batch of features, (B, F) or (B, T, F). Export one that does, or name "
            "the tensors with `yt8m-ens merge --input-tensor --predictions-tensor`"
        )
    msg = f"'{path}' has the signatures: {described or 'none'}. {advice}."
    raise GraphError(msg, path=path, signatures=tuple(found))


def _ports(entries: Mapping[str, Any]) -> list[Port]:
    return [
        Port(
            key,
            info.name,
            dtype_of(info.dtype),
            None if info.tensor_shape.unknown_rank else len(info.tensor_shape.dim),
        )
        for key, info in sorted(entries.items())
        if info.WhichOneof("encoding") == "name"
    ]


def _refuse_composite(signature: Any, *, name: str, path: str) -> None:
    """Refuse a signature of ragged or sparse tensors.

    Raises:
        GraphError: If one is.
    """
    entries: Iterable[tuple[str, Any]] = [*signature.inputs.items(), *signature.outputs.items()]
    for key, info in entries:
        if info.WhichOneof("encoding") != "name":
            msg = (
                f"'{key}' of the signature '{name}' in '{path}' is ragged or sparse; features are "
                "dense. Export a signature that takes (B, F) or (B, T, F)."
            )
            raise GraphError(msg, path=path, signature=name, tensor=key)
