"""Pictures of tuning, selecting, averaging and comparing, as PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble import files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yt8m_ensemble.averaging import Trial
    from yt8m_ensemble.tuning.calibration import Calibration
    from yt8m_ensemble.tuning.diversity import Comparison
    from yt8m_ensemble.tuning.selection import Choice, Selection
    from yt8m_ensemble.tuning.weight_sweep import WeightSweep

_DPI = 130
_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])


def draw_tuning(
    path: str, sweep: WeightSweep, trace: Sequence[tuple[int, float]], *, title: str, force: bool
) -> None:
    """Draw GAP over the weights beside the way of the search.

    Args:
        path: PNG to write.
        sweep: Sampled GAPs: a triangle for three members, else one slice a member.
        trace: Improvements as (mixtures scored, GAP).
        title: What was tuned on.
        force: Replace an existing file.
    """
    figure, (left, right) = _figure(title, columns=2)
    if len(sweep.grid):
        draw_triangle(figure, left, sweep)
    else:
        _draw_slices(left, sweep)
    evaluations, gaps = zip(*trace, strict=True)
    right.step(evaluations, gaps, where="post", color="tab:blue")
    right.plot(evaluations, gaps, ".", color="tab:blue")
    right.set(xscale="log", xlabel="mixtures scored", ylabel="best GAP so far", title="Search")
    right.grid(alpha=0.3)
    _save(figure, path, force=force)


def draw_reliability(path: str, calibration: Calibration, *, force: bool) -> None:
    """Draw how often classes are right against how likely they were said to be.

    Args:
        path: PNG to write.
        calibration: Without and with the temperature.
        force: Replace an existing file.
    """
    title = f"{calibration.num_videos} videos {calibration.videos}"
    figure, (axes,) = _figure(title, columns=1)
    axes.plot([1e-5, 1], [1e-5, 1], color="black", lw=0.8, label="means what it says")
    temperature = calibration.weights.temperature
    labels = ("temperature 1", f"temperature {temperature:.3f}")
    for label, found in zip(labels, calibration.reliability, strict=True):
        seen = found.observed > 0
        axes.plot(found.predicted[seen], found.observed[seen], ".-", label=label)
    axes.set(
        xscale="log", yscale="log", xlabel="mean score", ylabel="share of these labels that is true"
    )
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, path, force=force)


def draw_selection(path: str, selection: Selection, *, max_bytes: float, force: bool) -> None:
    """Draw the frontier of GAP against bytes.

    Args:
        path: PNG to write.
        selection: The frontier and the choice.
        max_bytes: The budget.
        force: Replace an existing file.
    """
    figure, (axes,) = _figure("GAP against bytes", columns=1)
    megabytes = [choice.size_bytes / 1e6 for choice in selection.frontier]
    lines: list[tuple[str, list[float]]] = [
        ("in sample", [choice.gap_in_sample for choice in selection.frontier]),
        ("held out", [choice.gap_held_out for choice in selection.frontier]),
    ]
    for label, gaps in lines:
        axes.plot(megabytes, gaps, ".-", label=label)
    for choice, size in zip(selection.frontier, megabytes, strict=True):
        axes.annotate(
            f" {len(choice.variants)}",
            (size, choice.gap_in_sample),
            fontsize="small",
            va="top",
        )
    chosen = selection.chosen
    axes.plot(
        chosen.size_bytes / 1e6, chosen.gap_in_sample, "o", ms=12, mfc="none", color="tab:red",
        label=f"chosen: {describe_choice(chosen)}",
    )  # fmt: skip
    if max_bytes < 2 * chosen.size_bytes:
        axes.axvline(max_bytes / 1e6, color="gray", ls="--", label="budget")
    axes.set(xlabel="MB (numbers: members in the set)", ylabel="GAP")
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize="small")
    _save(figure, path, force=force)


def draw_comparison(path: str, comparison: Comparison, *, force: bool) -> None:
    """Draw how alike members are and where the mixture gains.

    Args:
        path: PNG to write.
        comparison: What to draw.
        force: Replace an existing file.
    """
    names = [name for name in comparison.gaps if name in _paired(comparison)]
    figure, (left, right) = _figure(f"{comparison.num_videos} videos", columns=2)
    disagreement = np.zeros((len(names), len(names)))
    for pair in comparison.pairs:
        i, j = (names.index(name) for name in pair.members)
        disagreement[i, j] = disagreement[j, i] = pair.disagreement
    image = left.imshow(disagreement, cmap="viridis")
    left.set(title="Share of videos whose best class differs")
    left.set_xticks(range(len(names)), names, rotation=30, ha="right")
    left.set_yticks(range(len(names)), names)
    for (i, j), share in np.ndenumerate(disagreement):
        color = "black" if share > disagreement.max() / 2 else "white"
        left.text(j, i, f"{share:.2f}", ha="center", va="center", color=color, fontsize="small")
    figure.colorbar(image, ax=left, shrink=0.8)
    places = np.arange(len(comparison.bands))
    shown = list(comparison.gaps)
    for position, name in enumerate(shown):
        offset = (position - (len(shown) - 1) / 2) * 0.8 / len(shown)
        gaps = [band.gaps[name] for band in comparison.bands]
        right.bar(places + offset, gaps, width=0.8 / len(shown), label=name)
    labels = [f"{band.low} to {band.high}" for band in comparison.bands]
    right.set_xticks(places, labels, rotation=30, ha="right")
    right.set(xlabel="positives of a class", ylabel="GAP within the band", title="Rare to frequent")
    right.legend(fontsize="small")
    _save(figure, path, force=force)


def describe_choice(choice: Choice) -> str:
    """Return the names of a choice's members in one line."""
    return " + ".join(variant.name for variant in choice.variants)


def _paired(comparison: Comparison) -> set[str]:
    pairs = {name for pair in comparison.pairs for name in pair.members}
    return pairs or {comparison.best_single}


def _figure(title: str, *, columns: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5 * columns, 5), layout="constrained")
    figure.suptitle(title)
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def draw_triangle(figure: Any, axes: Any, sweep: WeightSweep) -> None:
    """Draw GAP over the weights of three members."""
    points = sweep.grid @ _CORNERS
    levels = np.linspace(np.quantile(sweep.grid_gaps, 0.25), sweep.grid_gaps.max(), 25)
    colors = axes.tricontourf(*points.T, sweep.grid_gaps, levels=levels, extend="min")
    figure.colorbar(colors, ax=axes, label="GAP", shrink=0.8, format="%.4f")
    axes.plot(*_CORNERS[[0, 1, 2, 0]].T, color="black", lw=0.8)
    best = sweep.best @ _CORNERS
    shares = ", ".join(f"{w:.2f}" for w in sweep.best)
    axes.plot(*best, "*", color="tab:red", ms=14, label=f"tuned ({shares}): {sweep.best_gap:.5f}")
    axes.plot(*_CORNERS.mean(axis=0), "+", color="black", ms=10, label="uniform")
    for name, corner, place in zip(sweep.names, _CORNERS, ("top", "top", "bottom"), strict=True):
        axes.annotate(
            name, corner, ha="center", va=place, xytext=(0, -6 if place == "top" else 6),
            textcoords="offset points",
        )  # fmt: skip
    axes.set(title="GAP over the weights", aspect="equal", xlim=(-0.12, 1.12), ylim=(-0.12, 1.2))
    axes.axis("off")
    axes.legend(loc="upper left", fontsize="small")


def _draw_slices(axes: Any, sweep: WeightSweep) -> None:
    for name, best, gaps in zip(sweep.names, sweep.best, sweep.slices, strict=True):
        (line,) = axes.plot(sweep.shares, gaps, label=f"{name} ({best:.2f})")
        axes.plot(best, sweep.best_gap, "o", color=line.get_color())
    # The far side of a slice is far below; what matters is around the optimum.
    floor = min(np.median(sweep.slices), sweep.best_gap - 1e-6)
    axes.set_ylim(floor, sweep.best_gap + 0.08 * (sweep.best_gap - floor))
    axes.set(xlabel="weight of one member, the others in proportion", ylabel="GAP")
    axes.set_title("Slices through the tuned weights")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def _save(figure: Any, path: str, *, force: bool) -> None:
    with files.atomic_file(path, force=force) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)


def draw_search(trials: Sequence[Trial], path: str) -> None:
    """Draw GAP of the mean of the last k checkpoints against k as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes: Any = figure.subplots()
    axes.plot([len(trial.inputs) for trial in trials], [trial.score for trial in trials], "o-")
    axes.set(xlabel="checkpoints averaged, newest first", ylabel="GAP@20 on held-out records")
    axes.grid(visible=True, alpha=0.3)
    with files.atomic_file(path, force=True) as part:
        figure.savefig(part, format="png", dpi=120)
