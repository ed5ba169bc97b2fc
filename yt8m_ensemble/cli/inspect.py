"""`yt8m-ens inspect`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from yt8m_ensemble.cli.options import Given, command

if TYPE_CHECKING:
    from yt8m_ensemble.cli.render import Table
    from yt8m_ensemble.steps.compare_graphs import GraphComparison
    from yt8m_ensemble.steps.inspect import Comparison, Inspection
    from yt8m_ensemble.steps.inspect_graph import GraphInspection

GRAPH_OPTIONS = (
    click.Option(
        ["--graph"], is_flag=True, help="Show members, shared parts and operations a video."
    ),
    click.Option(["--diff"], metavar="PATH", help="Compare with this one instead."),
)


FINDINGS = {
    "refused": "is refused",
    "random": "draws at random",
    "defaults": "has a default",
    "unfed": "needs a value",
}


@command(
    "inspect",
    "InspectOptions",
    "InspectGraphOptions",
    extra=GRAPH_OPTIONS,
    leave_out=("num_frames",),
    examples=(
        "yt8m-ens inspect runs/moe2",
        "yt8m-ens inspect runs/moe2@7000 --diff runs/moe2@9000",
        "yt8m-ens inspect blend.tgz --no-stats",
        "yt8m-ens inspect blend.tgz --graph --svg blend.svg",
        "yt8m-ens inspect before.tgz --graph --diff after.tgz",
    ),
)
def inspect(given: Given) -> None:
    """Show the variables of PATH, their values, and the graph beside them.

    PATH is a checkpoint, a model directory, a bundle, or a .safetensors or .h5 file.
    """
    from yt8m_ensemble.cli.render import format_bytes
    from yt8m_ensemble.steps.inspect import compare_checkpoints, inspect_checkpoint

    values = dict(given.values)
    with_graph, second = values.pop("graph", False), values.pop("diff", None)
    rest = replace(given, values=values)
    if with_graph and second is not None:
        from yt8m_ensemble.steps.compare_graphs import compare_graphs

        values = {"first": values.pop("path"), **values}
        differing = replace(given, values=values).run(compare_graphs, second=second)
        text = f"{differing.graph.same} operations are the same; "
        text += f"{len(differing.weights)} of {differing.num_weights} weights in one place differ."
        given.emit(differing, tables=_graph_tables(differing), text=text)
        return
    if with_graph or "svg" in given:
        from yt8m_ensemble.steps.inspect_graph import inspect_graph

        parts = rest.run(inspect_graph)
        text = "\n".join((*parts.notes, *([parts.svg] if parts.svg else [])))
        given.emit(parts, tables=[_part_table(parts)], text=text)
        return
    if second is not None:
        values = {"first": values.pop("path"), **values}
        compared = replace(given, values=values).run(compare_checkpoints, second=second)
        text = f"{compared.num_different} of {len(compared.differences)} tensors differ."
        given.emit(compared, tables=_difference_tables(compared), text=text)
        return
    found = rest.run(inspect_checkpoint)
    step = "" if found.global_step is None else f", step {found.global_step:,}"
    text = f"{len(found.tensors)} tensors, {format_bytes(found.nbytes)}{step}"
    given.emit(found, tables=_tensor_tables(found), text=text)


def _tensor_tables(found: Inspection) -> list[Table]:
    from yt8m_ensemble.cli.render import Table, format_bytes

    columns = ["tensor", "shape", "dtype", "size"]
    measured = [tensor.statistics for tensor in found.tensors if tensor.statistics]
    if measured:
        columns += ["min", "max", "mean", "zeros"]
    # Faults are rare: their columns would only take room from the names.
    has_faults = any(s.outside_float16 or s.nans or s.infinities for s in measured)
    if has_faults:
        columns += ["not in float16", "NaN", "inf"]
    rows = []
    for tensor in found.tensors:
        spec, values = tensor.spec, tensor.statistics
        row = [spec.name, str(list(spec.shape)), spec.dtype, format_bytes(tensor.nbytes)]
        if values:
            row += [f"{v:.4g}" for v in (values.minimum, values.maximum, values.mean)]
            row += [f"{values.zeros / max(spec.size, 1):.1%}"]
            counts = (values.outside_float16, values.nans, values.infinities)
            row += [f"{count:,}" if count else "" for count in counts if has_faults]
        rows.append(row + [""] * (len(columns) - len(row)))
    tables = [Table(found.place, columns, rows)]
    if found.graph:
        lists = [[name, ", ".join(n[:4])] for name, n in found.graph.collections.items()]
        most = list(found.graph.operations.items())[:6]
        lists.append(["operations", ", ".join(f"{name} {count}" for name, count in most)])
        lists += [[FINDINGS[kind], ", ".join(n[:4])] for kind, n in found.graph.findings.items()]
        title = f"Graph of {found.graph.num_nodes:,} nodes"
        tables.append(Table(title, ["collection", "first of it"], lists))
    return tables


def _graph_tables(found: GraphComparison) -> list[Table]:
    from collections import Counter

    from yt8m_ensemble.cli.render import Table

    rows = []
    for what, operations in (("added", found.graph.added), ("removed", found.graph.removed)):
        for op, count in Counter(o.op for o in operations).most_common():
            example = next(o.name for o in operations if o.op == op)
            rows.append([what, op, str(count), example])
    rows += [
        ["changed", change.op, ", ".join(change.attributes), f"{change.first} → {change.second}"]
        for change in found.graph.changed
    ]
    weights = [
        [f"{w.first} → {w.second}", f"{w.num_changed:,} of {w.size:,}", f"{w.largest:.4g}"]
        for w in found.weights
    ]
    title = f"{found.first} → {found.second}"
    tables = [Table(title, ["operations", "kind", "how many, or what", "such as"], rows)]
    if weights:
        tables.append(Table("Weights changed", ["weight", "values", "largest"], weights))
    return tables if rows else tables[1:]


def _part_table(found: GraphInspection) -> Table:
    from yt8m_ensemble.cli.render import Table, format_bytes

    rows = [
        [
            part.name,
            f"{part.num_nodes:,}",
            f"{part.flops / 1e6:,.3f}",
            ", ".join(f"{d} {format_bytes(n)}" for d, n in sorted(part.nbytes.items())),
            f"{found.weights[part.name]:.4f}" if part.name in found.weights else "",
        ]
        for part in found.parts
    ]
    reads = ", ".join(f"{name} {size}" for name, size in found.features.items())
    title = f"{found.opened.label}: {found.inputs} ({reads})"
    title += f" → {found.predictions} ({found.num_classes:,})"
    return Table(title, ["part", "operations", "MFLOP a video", "variables", "weight"], rows)


def _difference_tables(compared: Comparison) -> list[Table]:
    from yt8m_ensemble.cli.render import Table

    rows = [
        [
            d.name,
            {"missing": "only in the first", "added": "only in the second"}.get(d.kind, d.kind),
            d.first,
            d.second if d.second != d.first else "same",
            *((f"{d.largest:.4g}", f"{d.mean:.4g}", f"{d.count:,}") if d.count else ("", "", "")),
        ]
        for d in compared.differences
        if d.kind != "equal"
    ]
    columns = ["tensor", "differs in", "first", "second", "largest", "mean", "values"]
    return [Table(f"{compared.first} → {compared.second}", columns, rows)] if rows else []
