"""`extract`: an ensemble → an inference model for each of its members."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yt8m_ensemble import files
from yt8m_ensemble.constants import FLAGS_FILE
from yt8m_ensemble.errors import EnsembleError, GraphError, UsageError
from yt8m_ensemble.graphs import cut_member, find_members, fix_frames
from yt8m_ensemble.loading.model import open_with
from yt8m_ensemble.merging import decode_weights, write_inference_model
from yt8m_ensemble.models import recognize
from yt8m_ensemble.options import ExtractOptions, command
from yt8m_ensemble.provenance import write_provenance
from yt8m_ensemble.values import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yt8m_ensemble.graphs import ModelGraph
    from yt8m_ensemble.loading.model import OpenModel

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"


@dataclass(frozen=True)
class ExtractedMember:
    """One member of an ensemble.

    Args:
        name: Its name.
        directory: Where its inference model is, or would be.
        num_tensors: How many variables it has.
        nbytes: Their bytes, as the ensemble stores them.
        depends_on_chance: Whether its scores vary from run to run.
    """

    name: str
    directory: str
    num_tensors: int
    nbytes: int
    depends_on_chance: bool


@dataclass(frozen=True)
class ExtractedMembers:
    """Result of `extract_members`.

    Args:
        ensemble: What was read.
        out: The directory of all.
        members: One for each member taken out.
    """

    ensemble: str
    out: str
    members: tuple[ExtractedMember, ...]


@command(ExtractOptions)
def extract_members(options: ExtractOptions) -> ExtractedMembers:
    """Take an ensemble apart: an inference model for each member, scoring as it did inside.

    Returns:
        What was written.

    Raises:
        GraphError: If it is no ensemble.
        OutputExistsError: If `out` exists and `force` is not set.
        UsageError: If a member is not there.
    """
    files.check_absent(options.out, force=options.force)
    with open_with(options.ensemble, options) as model:
        graphs = _member_graphs(model, options)
        planned = _planned(options, graphs)
        with files.atomic_directory(options.out, force=options.force) as part:
            for done, (name, graph) in enumerate(graphs.items(), 1):
                source = model.source
                folder = Path(part, name)
                folder.mkdir()
                own = graph
                if options.decode:
                    own, source = decode_weights(graph, source)
                write_inference_model(own, source, str(folder))
                flags = _flags(model, own)
                (folder / FLAGS_FILE).write_text(json.dumps(flags, indent=2), encoding="utf-8")
                options.progress("extract", done, len(graphs), unit="members")
            write_provenance(
                part,
                command="extract",
                inputs={options.ensemble: model.digest},
                options=options,
            )
        return planned


@command(ExtractOptions)
def plan_extract_members(options: ExtractOptions) -> ExtractedMembers:
    """Check what `extract_members` would write; write nothing.

    Returns:
        The members.
    """
    files.check_absent(options.out, force=options.force)
    with open_with(options.ensemble, options) as model:
        return _planned(options, _member_graphs(model, options))


def _planned(options: ExtractOptions, graphs: Mapping[str, ModelGraph]) -> ExtractedMembers:
    return ExtractedMembers(
        options.ensemble,
        options.out,
        tuple(
            ExtractedMember(
                name,
                f"{options.out.rstrip('/')}/{name}",
                len(graph.variables),
                sum(spec.nbytes for spec in graph.variables.values()),
                bool(graph.random_operations),
            )
            for name, graph in graphs.items()
        ),
    )


def _member_graphs(model: OpenModel, options: ExtractOptions) -> dict[str, ModelGraph]:
    """Return the graph of each member to take out.

    Raises:
        GraphError: If a member's name cannot be that of a folder.
        UsageError: If one is not there.
    """
    found = find_members(model.graph, path=options.ensemble)
    for name in options.members:
        if name not in found:
            msg = f"'{options.ensemble}' has no member '{name}'. It has {', '.join(found)}."
            raise UsageError(msg, member=name, members=tuple(found))
    for name in found:
        if not re.fullmatch(_NAME, name):
            msg = f"The member '{name}' of '{options.ensemble}' has no name that a folder can bear."
            raise GraphError(msg, member=name)
    graphs = {}
    for position, (name, tensor) in enumerate(found.items()):
        if options.members and name not in options.members:
            continue
        scope = _scope(name, position, model.graph)
        graph = cut_member(model.graph, tensor, scope=scope)
        graphs[name] = fix_frames(graph) if options.with_fixed_frames else graph
    return graphs


def _scope(name: str, position: int, graph: ModelGraph) -> tuple[str, str] | None:
    """Return what the ensemble put before the names of a member's variables, and what was there."""
    if any(variable.startswith(f"{name}/") for variable in graph.variables):
        return f"{name}/", ""
    return (f"tower/model{position}/", "tower/") if position else None


def _flags(model: OpenModel, graph: ModelGraph) -> dict[str, Any]:
    """Return the flags of a member: those of the ensemble, without what speaks of a mixture."""
    flags = {k: v for k, v in model.flags.items() if k not in {"members", "mix", "naming"}}
    flags |= {
        "model": "ExportedGraph",
        **model.features.to_flags(),
        "num_classes": model.num_classes,
    }
    specs = {node: TensorSpec(node, s.shape, s.dtype) for node, s in graph.variables.items()}
    with suppress(EnsembleError):  # an architecture of others
        flags["model"] = recognize(specs, flags).model
    return flags
