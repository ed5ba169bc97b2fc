"""`inspect --graph`: the inputs, members, shared parts, cost and storage of a model's graph."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.graphs.cost import MIXTURE, SHARED, measure_parts
from yt8m_ensemble.loading.model import open_with
from yt8m_ensemble.options import InspectGraphOptions, command
from yt8m_ensemble.packaging.layouts import size_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yt8m_ensemble.loading.model import OpenedFile, OpenModel

_BOX_WIDTH, _LINE, _GAP, _MARGIN = 230, 18, 60, 20
_FILLS = {SHARED: "#dbe9f6", MIXTURE: "#e8f3e2"}
_MEMBER_FILL = "#fdeecf"


@dataclass(frozen=True)
class InspectedPart:
    """The part of a graph that serves one member, several, or the mixture.

    Args:
        name: The member, `shared` or `mixture`.
        num_nodes: Operations.
        flops: Floating-point operations a video.
        nbytes: Bytes of its variables by dtype.
    """

    name: str
    num_nodes: int
    flops: int
    nbytes: Mapping[str, int]


@dataclass(frozen=True)
class GraphInspection:
    """Result of `inspect_graph`.

    Args:
        path: The model.
        opened: The file that it turned out to be, and its step.
        inputs: Its input tensor.
        features: Names and sizes of what it reads.
        predictions: Its output tensor.
        num_classes: Classes.
        mix: How members are mixed; `None` for a single model.
        weights: Mixture weights by member, where the graph holds them as a variable.
        parts: Its parts.
        num_frames: Frames of the video that `flops` are of.
        svg: The picture written, if any.
        depends_on_chance: Whether the scores vary from run to run.
        notes: What the scores depend on besides the video, and what else the file holds.
    """

    path: str
    opened: OpenedFile
    inputs: str
    features: Mapping[str, int]
    predictions: str
    num_classes: int
    mix: str | None
    weights: Mapping[str, float]
    parts: tuple[InspectedPart, ...]
    num_frames: int
    svg: str | None
    depends_on_chance: bool
    notes: tuple[str, ...]


@command(InspectGraphOptions)
def inspect_graph(options: InspectGraphOptions) -> GraphInspection:
    """Describe a model's graph, and draw it.

    Returns:
        The description.
    """
    if options.svg:
        files.check_absent(options.svg, force=options.force)
    with open_with(options.path, options) as model:
        found = _describe(model, svg=options.svg, num_frames=options.num_frames)
    if options.svg:
        files.write_text(options.svg, draw(found), force=options.force)
    return found


def _describe(model: OpenModel, *, svg: str | None, num_frames: int) -> GraphInspection:
    parts = []
    for part in measure_parts(model.graph, num_frames=num_frames):
        nbytes: Counter[str] = Counter()
        for name in part.variables:
            spec = model.graph.variables[name]
            nbytes[spec.dtype] += spec.nbytes
        parts.append(InspectedPart(part.name, part.num_nodes, part.flops, dict(nbytes)))
    weights = {}
    if "mixture_weights" in model.graph.variables:
        values = model.graph.read("mixture_weights", model.source)
        shared = values.reshape(len(values), -1).mean(axis=1).tolist()
        weights = dict(zip(model.graph.members, shared, strict=True))
    features = model.features
    return GraphInspection(
        path=model.path,
        opened=model.opened,
        inputs=model.graph.inputs,
        features=dict(zip(features.names, features.sizes, strict=True)),
        predictions=model.graph.predictions,
        num_classes=model.num_classes,
        mix=model.flags.get("mix"),
        weights=weights,
        parts=tuple(parts),
        num_frames=num_frames,
        svg=svg,
        depends_on_chance=model.depends_on_chance,
        notes=model.notes,
    )


def draw(found: GraphInspection) -> str:
    """Return a picture of a graph's parts as SVG: input, shared part, members, mixture.

    Args:
        found: What `inspect_graph` found.

    Returns:
        The text of the SVG file.
    """
    boxes = {part.name: _lines(part, found) for part in found.parts}
    members = [name for name in boxes if name not in (SHARED, MIXTURE)]
    read = [f"{name} {size}" for name, size in found.features.items()]
    columns: list[list[tuple[str, list[str]]]] = [
        [("input", [found.inputs, *read])],
        *([[(SHARED, boxes[SHARED])]] if SHARED in boxes else []),
        [(name, boxes[name]) for name in members],
        *([[(MIXTURE, boxes[MIXTURE])]] if MIXTURE in boxes else []),
        [("output", [found.predictions, f"{found.num_classes:,} classes"])],
    ]
    tallest = max(sum(map(_height, column)) + _MARGIN * (len(column) - 1) for column in columns)
    width = len(columns) * (_BOX_WIDTH + _GAP) - _GAP + 2 * _MARGIN
    height = tallest + 2 * _MARGIN
    drawn: list[str] = []
    before: list[float] = []
    for number, column in enumerate(columns):
        x = _MARGIN + number * (_BOX_WIDTH + _GAP)
        y = _MARGIN + (tallest - sum(map(_height, column)) - _MARGIN * (len(column) - 1)) / 2
        middles = []
        for name, lines in column:
            box = _height((name, lines))
            drawn += _box(x, y, box, name, lines)
            middles.append(y + box / 2)
            y += box + _MARGIN
        for left in before:
            for right in middles:
                drawn.append(
                    f'<path d="M{x - _GAP},{left:g} C{x - _GAP / 2},{left:g} '
                    f'{x - _GAP / 2},{right:g} {x},{right:g}" fill="none" stroke="#777"/>'
                )
        before = middles
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
            'font-family="sans-serif" font-size="13">',
            f"<title>{escape(found.path)}</title>",
            '<rect width="100%" height="100%" fill="white"/>',
            *drawn,
            "</svg>\n",
        ]
    )


def _lines(part: InspectedPart, found: GraphInspection) -> list[str]:
    lines = [f"{part.num_nodes:,} operations", f"{part.flops / 1e6:,.3g} MFLOP a video"]
    lines += [f"{dtype}: {size_text(nbytes)}" for dtype, nbytes in sorted(part.nbytes.items())]
    if part.name in found.weights:
        lines.append(f"weight {found.weights[part.name]:.4g}")
    if part.name == MIXTURE and found.mix:
        lines.append(f"mixed by {found.mix}")
    return lines


def _height(box: tuple[str, Sequence[str]]) -> int:
    return _LINE * (len(box[1]) + 2)


def _box(x: float, y: float, height: int, name: str, lines: Sequence[str]) -> list[str]:
    fill = _FILLS.get(name, "#eeeeee" if name in {"input", "output"} else _MEMBER_FILL)
    texts = [
        f'<text x="{x + 10:g}" y="{y + _LINE * (row + 1.4):g}"{weight}>{escape(line)}</text>'
        for row, (line, weight) in enumerate(
            [(name, ' font-weight="bold"'), *((line, "") for line in lines)]
        )
    ]
    shape = f'<rect x="{x:g}" y="{y:g}" width="{_BOX_WIDTH}" height="{height}" rx="6"'
    return [f'{shape} fill="{fill}" stroke="#555"/>', *texts]
