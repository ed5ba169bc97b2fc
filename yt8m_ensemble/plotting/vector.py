"""Figures as SVG elements of a page: colors follow the page's theme, ids are the figure's own.

Members have one color and one mark wherever they are drawn; the colors are the variables m0 to
m7 of the page's style, which also says what gain, loss and line are in light and dark.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Callable

NUM_COLORS: Final = 8
MARKS: Final = ("o", "s", "^", "D", "v", "P", "X", "p")
DASHES: Final = ("-", "--", ":", "-.")

_PIXELS = 96
"""Page pixels of an inch: a third more than the units in which matplotlib draws."""

_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}href"

# Colors that no figure has otherwise stand for the page's variables.
_MEMBERS = tuple(f"#0100{number:02x}" for number in range(1, NUM_COLORS + 1))
GAIN, LOSS, LINE = "#020001", "#020002", "#020003"
_THEME: Final = {
    **{color: f"var(--m{number})" for number, color in enumerate(_MEMBERS)},
    GAIN: "var(--gain)",
    LOSS: "var(--loss)",
    LINE: "var(--line)",
    "#000000": "currentColor",
    "#d62728": "var(--loss)",
}

_STYLE: Final = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "axes.titlesize": 10,
}


def member_style(index: int) -> dict[str, Any]:
    """Return color, mark and dashes of the member at a place."""
    turn = index // NUM_COLORS
    return {
        "color": _MEMBERS[index % NUM_COLORS],
        "marker": MARKS[(index + turn) % len(MARKS)],
        "linestyle": DASHES[turn % len(DASHES)],
    }


def draw_svg(
    draw: Callable[[Any, Any], None],
    *,
    key: str,
    title: str,
    description: str,
    size: tuple[float, float] = (6.2, 3.4),
) -> str:
    """Draw a figure as an SVG element.

    Args:
        draw: Called with a figure and its axes.
        key: Prefix of its ids, unlike that of any other figure on the page.
        title: Name for those who do not see it.
        description: What it shows, for them.
        size: Width and height in inches of 72 CSS pixels.

    Returns:
        The element.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({**_STYLE, "svg.hashsalt": key}):
        figure = Figure(figsize=size, layout="constrained")
        axes: Any = figure.subplots()
        axes.set_axisbelow(True)
        draw(figure, axes)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    return _adapt(buffer.getvalue(), key=key, title=title, description=description, width=size[0])


def _adapt(text: str, *, key: str, title: str, description: str, width: float) -> str:
    ET.register_namespace("", _SVG.strip("{}"))
    ET.register_namespace("xlink", _XLINK.partition("}")[0].strip("{"))
    root = ET.fromstring(text)  # noqa: S314 - matplotlib's own text
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    for element in root.iter():
        _adapt_element(element, key)
    for parent in list(root.iter()):
        # Style sheets of an inline figure would hold for the whole page.
        for child in list(parent):
            if child.tag in {f"{_SVG}style", f"{_SVG}metadata"}:
                parent.remove(child)
    labels = (("title", title), ("desc", description))
    for place, (tag, words) in enumerate(labels):
        label = ET.Element(_SVG + tag, {"id": f"{key}-{tag}"})
        label.text = words
        root.insert(place, label)
    root.attrib |= {"role": "img", "aria-labelledby": f"{key}-title {key}-desc"}
    # Letters are of one size on the page, whatever the figure's width.
    root.attrib["style"] = f"max-width: {width * _PIXELS:.0f}px"
    return ET.tostring(root, encoding="unicode")


def _adapt_element(element: ET.Element, key: str) -> None:
    attributes = element.attrib
    if "id" in attributes:
        attributes["id"] = f"{key}-{attributes['id']}"
    if _XLINK in attributes:
        attributes[_XLINK] = attributes[_XLINK].replace("#", f"#{key}-")
    for name in ("style", "clip-path"):
        if name in attributes:
            value = attributes[name].replace("url(#", f"url(#{key}-")
            attributes[name] = re.sub(
                r"#[0-9a-f]{6}\b", lambda found: _THEME.get(found[0], found[0]), value
            )
