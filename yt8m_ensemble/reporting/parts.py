"""What a page is made of: sections of panels, panels of paragraphs, tables and figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from yt8m_ensemble.plotting.vector import draw_svg

if TYPE_CHECKING:
    from yt8m_ensemble.plotting.charts import Draw
    from yt8m_ensemble.reporting.content import Content


_WIDE = 6.5
"""Width in inches from which a figure shares its row with no other."""


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row is its head.

    Args:
        caption: What it shows.
        columns: Heads of the columns.
        rows: Cells as text.
        colors: Number of the color of each row's member; empty without.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    colors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A figure with its caption.

    Args:
        svg: The element.
        caption: How to read it.
        is_wide: Whether it has a row of the page to itself.
    """

    svg: str
    caption: str
    is_wide: bool = False


@dataclass(frozen=True)
class Panel:
    """One part of the page.

    Args:
        key: Its anchor.
        title: Its heading.
        text: Paragraphs; text in backticks is code.
        tables: Its tables.
        figures: Its figures.
        code: Text shown as it is.
    """

    key: str
    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    code: str = ""


@dataclass(frozen=True)
class Section:
    """What the page says of one ensemble.

    Args:
        name: The ensemble.
        verdict: One sentence.
        panels: Its panels.
    """

    name: str
    verdict: str
    panels: tuple[Panel, ...]


def figure(
    draw: Draw, *, key: str, title: str, caption: str, size: tuple[float, float] = (6.2, 3.4)
) -> Figure:
    """Draw a figure.

    Args:
        draw: Draws onto axes.
        key: Prefix of its ids.
        title: Its name.
        caption: How to read it.
        size: Width and height in inches.

    Returns:
        The figure.
    """
    svg = draw_svg(draw, key=key, title=title, description=caption, size=size)
    return Figure(svg, caption, size[0] > _WIDE)


def unscored(content: Content) -> str:
    """Return why nothing was judged, and what to do."""
    if content.is_labeled is False:
        return (
            "The scores carry no labels. Predict labeled records with `yt8m-ens predict --cache`."
        )
    return "There are no scores. `yt8m-ens predict --cache` makes them."
