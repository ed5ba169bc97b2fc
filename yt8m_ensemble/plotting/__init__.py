"""Pictures of what commands found: PNG files, and SVG for the page of `report`.

The only room that loads matplotlib, and only when it draws. Draws onto figures of its own, so that
no window system is touched.
"""

from yt8m_ensemble.plotting.pictures import (
    describe_choice,
    draw_comparison,
    draw_reliability,
    draw_search,
    draw_selection,
    draw_tuning,
)

__all__ = [
    "describe_choice",
    "draw_comparison",
    "draw_reliability",
    "draw_search",
    "draw_selection",
    "draw_tuning",
]
