"""The figures of a report, each a function of plain values that draws onto axes.

They return what `vector.draw_svg` wants; words and numbers around them are the report's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble.plotting.pictures import draw_triangle
from yt8m_ensemble.plotting.vector import GAIN, LINE, LOSS, member_style

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.tuning.calibration import ReliabilityOf
    from yt8m_ensemble.tuning.weight_sweep import WeightSweep

    Draw = Callable[[Any, Any], None]

MOST_IN_LEGEND = 8
_MOST_NUMBERS = 10
_NAME_LENGTH = 24
_DARK = 0.55
_WIDE = 20  # largest over smallest value from which a linear scale hides what matters


def shorten(name: str) -> str:
    """Return a name that fits beside an axis."""
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"


def waterfall(
    names: Sequence[str],
    gaps: Sequence[float],
    intervals: Sequence[tuple[float, float]],
) -> Draw:
    """Draw what each step added, with the interval of what it added.

    Args:
        names: Steps in order.
        gaps: GAP after each.
        intervals: 95 % interval of each step's difference; the first is not drawn.

    Returns:
        What draws it.
    """

    def draw(_: Any, axes: Any) -> None:
        places = np.arange(len(names))
        for place, (gap, interval) in enumerate(zip(gaps, intervals, strict=True)):
            if not place:
                axes.plot(gap, 0, "o", color="black")
            else:
                before = gaps[place - 1]
                color = GAIN if gap >= before else LOSS
                axes.barh(place, gap - before, left=before, color=color, height=0.5)
                axes.plot([before, before], [place - 1, place + 0.25], color="black", lw=0.6)
                ends = before + np.array(interval)
                axes.plot(ends, [place, place], color="black", lw=1.2, marker="|", ms=8)
        axes.set_yticks(places, [shorten(name) for name in names])
        axes.invert_yaxis()
        axes.use_sticky_edges = False
        axes.margins(x=0.08, y=0.06)
        axes.ticklabel_format(axis="x", useOffset=False)
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel("GAP@20")
        axes.grid(visible=False, axis="y")

    return draw


def weights_slices(sweep: WeightSweep, members: Sequence[int]) -> Draw:
    """Draw GAP against the weight of one member at a time, the others in proportion.

    Args:
        sweep: Sampled GAPs.
        members: Places of the members drawn.

    Returns:
        What draws it.
    """

    def draw(_: Any, axes: Any) -> None:
        for place in members:
            style = member_style(place)
            axes.plot(sweep.shares, sweep.slices[place], **style | {"marker": None})
            axes.plot(
                sweep.best[place], sweep.best_gap, **style, ms=8, label=shorten(sweep.names[place])
            )
        # The far side of a slice is far below; what matters is around the optimum.
        floor = min(float(np.median(sweep.slices)), sweep.best_gap - 1e-6)
        axes.set_ylim(floor, sweep.best_gap + 0.08 * (sweep.best_gap - floor))
        axes.set(xlabel="weight of one member, the others in proportion", ylabel="GAP@20")
        axes.legend()

    return draw


def weights_triangle(sweep: WeightSweep) -> Draw:
    """Draw GAP over all mixtures of three members.

    Args:
        sweep: Sampled GAPs.

    Returns:
        What draws it.
    """

    def draw(figure: Any, axes: Any) -> None:
        draw_triangle(figure, axes, sweep)
        axes.set_title("")

    return draw


def byte_bars(sizes: Mapping[str, int], members: Sequence[str]) -> Draw:
    """Draw the bytes of each part.

    Args:
        sizes: Bytes by member; other parts are gray.
        members: Names by which members have their colors.

    Returns:
        What draws it.
    """

    def draw(_: Any, axes: Any) -> None:
        names = list(sizes)
        colors = [
            member_style(members.index(name))["color"] if name in members else LINE
            for name in names
        ]
        axes.barh(range(len(names)), [size / 1e6 for size in sizes.values()], color=colors)
        axes.set_yticks(range(len(names)), [shorten(name) for name in names])
        axes.invert_yaxis()
        axes.set_xlabel("MB of weights")
        axes.grid(visible=False, axis="y")

    return draw


def frontier(points: Sequence[tuple[int, float, float]], chosen: int | None) -> Draw:
    """Draw the best GAP for each number of bytes.

    Args:
        points: Bytes, GAP in sample, GAP held out, by rising bytes.
        chosen: Bytes of the choice.

    Returns:
        What draws it.
    """

    def draw(_: Any, axes: Any) -> None:
        megabytes = [size / 1e6 for size, *_ in points]
        for position, label in ((1, "in sample"), (2, "held out")):
            style = member_style(position - 1)
            axes.plot(megabytes, [point[position] for point in points], **style, label=label)
        if chosen is not None:
            axes.axvline(chosen / 1e6, color="black", lw=0.8, ls=":", label="chosen")
        axes.set(xlabel="MB of weights", ylabel="GAP@20")
        axes.legend()

    return draw


def curves(
    series: Sequence[tuple[int, str, Sequence[tuple[int, float]], Collection[int]]],
    *,
    ylabel: str,
) -> Draw:
    """Draw a value of each member against its global steps.

    Args:
        series: Place, name, points and marked steps of each member.
        ylabel: What the value is.

    Returns:
        What draws it.
    """

    def draw(_: Any, axes: Any) -> None:
        for index, name, points, marked in series:
            style = member_style(index)
            steps, values = zip(*points, strict=True)
            line = style | {"marker": None} if len(points) > 1 and not marked else style
            axes.plot(steps, values, **line, ms=4, mfc="none", label=shorten(name))
            chosen = [point for point in points if point[0] in marked]
            if chosen:
                axes.plot(*zip(*chosen, strict=True), **style | {"linestyle": "none"}, ms=7)
        every = [value for _, _, points, _ in series for _, value in points]
        axes.set(xlabel="global step", ylabel=ylabel)
        if min(every) > 0 and max(every) > _WIDE * min(every):
            axes.set_yscale("log")
            _label_plainly(axes.yaxis)
        if len(series) <= MOST_IN_LEGEND:
            axes.legend()

    return draw


def matrix(names: Sequence[str], values: NDArray[np.float64], *, low: float, high: float) -> Draw:
    """Draw a value of each pair of members.

    Args:
        names: Members.
        values: Shape `(M, M)`; nan is left empty.
        low: Value of the darkest color.
        high: Value of the lightest.

    Returns:
        What draws it.
    """

    def draw(figure: Any, axes: Any) -> None:
        axes.grid(visible=False)
        mesh = axes.pcolormesh(values, cmap="cividis", vmin=low, vmax=high)
        mesh.set_edgecolor("face")
        middles = np.arange(len(names)) + 0.5
        shown = [shorten(name) for name in names]
        small = 9 if len(names) <= _MOST_NUMBERS else 6
        axes.set_xticks(middles, shown, rotation=90, fontsize=small)
        axes.set_yticks(middles, shown, fontsize=small)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        figure.colorbar(mesh, ax=axes, shrink=0.8)
        if len(names) <= _MOST_NUMBERS:
            for (i, j), value in np.ndenumerate(values):
                if np.isfinite(value):
                    dark = value < low + _DARK * (high - low)
                    color = "#ffffff" if dark else "#000001"
                    axes.text(
                        j + 0.5, i + 0.5, f"{value:.2f}", ha="center", va="center", color=color,
                        fontsize=8,
                    )  # fmt: skip

    return draw


def frequency_bands(labels: Sequence[str], before: Sequence[float], after: Sequence[float]) -> Draw:
    """Draw GAP by how frequent classes are, before and after mixing.

    Args:
        labels: Frequency bands, rare to frequent.
        before: GAP of the best single model in each.
        after: GAP of the mixture.

    Returns:
        What draws it.
    """

    def draw(_: Any, axes: Any) -> None:
        places = np.arange(len(labels))
        axes.plot(places, before, "o", color=LOSS, mfc="none", label="best single model")
        axes.plot(places, after, "o", color=GAIN, label="mixture")
        for place, ends in enumerate(zip(before, after, strict=True)):
            color = GAIN if ends[1] >= ends[0] else LOSS
            axes.plot([place, place], ends, color=color, lw=2, zorder=1)
        axes.set_xticks(places, labels, rotation=30, ha="right")
        axes.set(xlabel="positives of a class, rare to frequent", ylabel="GAP@20 in the band")
        axes.legend()

    return draw


def reliability(found: Mapping[str, ReliabilityOf]) -> Draw:
    """Draw how often scores come true.

    Args:
        found: By name, at most two.

    Returns:
        What draws it.
    """

    def draw(_: Any, axes: Any) -> None:
        axes.plot([1e-5, 1], [1e-5, 1], color="black", lw=0.8, label="means what it says")
        styles = ({"color": LOSS, "mfc": "none"}, {"color": GAIN})
        for (name, one), style in zip(found.items(), styles[-len(found) :], strict=True):
            seen = one.reliability.observed > 0
            points = one.reliability.predicted[seen], one.reliability.observed[seen]
            axes.plot(*points, "o-", ms=4, label=shorten(name), **style)
        axes.set(xscale="log", yscale="log", xlabel="mean score", ylabel="share that is true")
        _label_plainly(axes.xaxis)
        _label_plainly(axes.yaxis)
        axes.legend()

    return draw


def _label_plainly(axis: Any) -> None:
    """Label a logarithmic axis with numbers: its powers would be mathematics, as no name may be."""
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")
