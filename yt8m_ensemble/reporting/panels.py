"""The panels of a report: numbers put into words, tables and figures, in the order of the page.

A panel whose data are absent says which command makes them. Computes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yt8m_ensemble.packaging.layouts import size_text
from yt8m_ensemble.plotting import charts
from yt8m_ensemble.plotting.vector import NUM_COLORS
from yt8m_ensemble.reporting.content import SHARED, versions
from yt8m_ensemble.reporting.parts import Panel, Section, Table, figure, unscored
from yt8m_ensemble.reporting.score_panels import alike, calibration, classes, flipped
from yt8m_ensemble.tuning import describe_overlap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yt8m_ensemble.reporting.content import Content, Member

COLUMNS = {
    "last": "GAP, last checkpoint",
    "averaged": "GAP, averaged",
    "float32": "GAP, float32",
    "bundle": "GAP, in the bundle",
}
_MOST_SLICES = 8


def make_section(content: Content, *, vocabulary: Mapping[int, str], key: str) -> Section:
    """Put one ensemble's content into panels.

    Args:
        content: The numbers.
        vocabulary: Names of classes by id.
        key: Prefix of every anchor.

    Returns:
        The section.
    """
    panels = (
        _members(content, key),
        _mixture(content, key),
        _steps(content, key),
        _bytes(content, key),
        _training(content, key),
        alike(content, key),
        classes(content, key, vocabulary),
        calibration(content, key),
        flipped(content, key, vocabulary),
        _proof(content, key),
        _recipe(content, key),
    )
    return Section(content.name, content.verdict.sentence, panels)


def _members(content: Content, key: str) -> Panel:
    members = content.members
    if not members:
        return Panel(f"{key}-members", "Members", ("There are none. `yt8m-ens train` makes them.",))
    columns = [name for name in COLUMNS if any(name in member.gaps for member in members)]
    rows = [
        (
            member.name,
            "" if member.weight is None else f"{member.weight:.3f}",
            str(len(member.averaged) or "1"),
            *(f"{member.gaps[name]:.5f}" if name in member.gaps else "" for name in columns),
            "" if member.size_bytes is None else size_text(member.size_bytes),
            _duration(member.train_s),
        )
        for member in members
    ]
    judged = content.judged
    if judged and len(members) > 1:
        mixed = (f"{judged.gaps[name]['mixture']:.5f}" for name in columns)
        total = sum(content.sizes.members.values()) if content.sizes else None
        rows.append(("mixture", "", "", *mixed, "" if total is None else size_text(total), ""))
    heads = ("member", "weight", "checkpoints averaged", *(COLUMNS[name] for name in columns))
    heads = (*heads, "bytes", "training")
    filled = [place for place in range(len(heads)) if any(row[place] for row in rows)]
    table = Table(
        "Members and their mixture" if len(members) > 1 else "The member",
        tuple(heads[place] for place in filled),
        tuple(tuple(row[place] for place in filled) for row in rows),
        tuple(place % NUM_COLORS for place in range(len(members))),
    )
    text = () if judged else (unscored(content),)
    return Panel(f"{key}-members", "Members", text, (table,))


def _mixture(content: Content, key: str) -> Panel:
    weights, judged = content.weights, content.judged
    text = []
    if weights is None:
        text.append(
            "There are no weights of these members, so they count alike. `yt8m-ens tune-weights` "
            "makes a file of them."
        )
    else:
        named = sorted(zip(weights.names, weights.values, strict=True), key=lambda pair: -pair[1])
        parts = ", ".join(f"{name} {value:.3f}" for name, value in named[:_MOST_SLICES])
        if len(named) > _MOST_SLICES:
            parts += f" and {len(named) - _MOST_SLICES} more"
        extra = " A bias is added to each class." if weights.class_bias else ""
        if weights.temperature != 1:
            extra += f" Logits are divided by {weights.temperature:.3f}."
        text.append(f"Averaged as {weights.space}: {parts}.{extra}")
        details = weights.details
        if "chosen_by" in details:
            share = details.get("shrinkage")
            shrunk = "" if share is None else f"; the search keeps share {share:.3f}"
            text.append(
                f"Searched by {details.get('method')}, chosen by: {details['chosen_by']}{shrunk}."
            )
        text += [f"{name} has weight 0: {why}." for name, why in details.get("dropped", {}).items()]
        if details.get("num_trained_on"):
            text.append(describe_overlap(details["num_trained_on"]))
    figures = []
    sweep = judged.sweep if judged else None
    if sweep is not None:
        three = len(sweep.grid) > 0
        draw = (
            charts.weights_triangle(sweep)
            if three
            else charts.weights_slices(
                sweep, sorted(range(len(sweep.best)), key=lambda m: -sweep.best[m])[:_MOST_SLICES]
            )
        )
        where = (
            "Each corner is one member alone, each point a mixture; lighter is higher."
            if three
            else "Each line moves one member's weight, the others in proportion; the mark is the "
            "mixture, and a flat line says that the weight hardly matters."
        )
        caption = f"GAP over the weights, on videos tuned on. {where}"
        figures.append(
            figure(
                draw, key=f"{key}-w", title="GAP over the weights", caption=caption,
                size=(6.2, 4.4 if three else 3.4),
            )
        )  # fmt: skip
    elif judged is None:
        text.append(unscored(content))
    return Panel(f"{key}-mixture", "Mixture", tuple(text), (), tuple(figures))


def _steps(content: Content, key: str) -> Panel:
    title = "What each step bought"
    judged = content.judged
    if judged is None:
        return Panel(f"{key}-steps", title, (unscored(content),))
    rows = []
    for step in judged.steps:
        low, high = step.interval95
        change = "" if step.difference is None else f"{step.difference:+.5f}"
        ends = f"[{low:+.5f}, {high:+.5f}]" if step.difference is not None else ""
        rows.append((step.name, f"{step.gap:.5f}", change, ends))
    text = [
        f"Stored in the bundle: {step.equivalence.sentence}."
        for step in judged.steps
        if step.equivalence
    ]
    if not text:
        text.append(
            "Scores of the bundle are not cached, so what storing in fewer bits costs is unknown. "
            "`yt8m-ens predict --model X.tgz --cache` makes them."
        )
    table = Table(
        "Steps from the best single model to the bundle",
        ("step", "GAP@20", "change", "paired 95 % interval"),
        tuple(rows),
    )
    drawn = []
    if len(judged.steps) > 1:
        caption = (
            "Each bar is what a step adds to the one above; the line on it is the paired 95 % "
            "interval of that gain. A line that crosses the bar's start is a gain that chance may "
            "explain."
        )
        draw = charts.waterfall(
            [step.name for step in judged.steps],
            [step.gap for step in judged.steps],
            [step.interval95 for step in judged.steps],
        )
        drawn.append(figure(draw, key=f"{key}-g", title="GAP step by step", caption=caption))
    return Panel(f"{key}-steps", title, tuple(text), (table,), tuple(drawn))


def _bytes(content: Content, key: str) -> Panel:
    sizes = content.sizes
    if sizes is None:
        return Panel(
            f"{key}-bytes", "Bytes", ("There is no inference model. `yt8m-ens merge` makes one.",)
        )
    parts = {name: size for name, size in sizes.members.items() if size or name != SHARED}
    total = sum(parts.values())
    text = [f"Weights {size_text(total)}, in float32 {size_text(sizes.float32_bytes)}."]
    if sizes.archive_bytes is None or sizes.unpacked_bytes is None:
        text.append("There is no archive. `yt8m-ens package` makes one.")
    else:
        text.append(
            f"The archive is {size_text(sizes.archive_bytes)}, "
            f"unpacked {size_text(sizes.unpacked_bytes)}."
        )
    members = [member.name for member in content.members]
    height = min(9.0, 1.2 + 0.3 * len(parts))
    figures = [
        figure(
            charts.byte_bars(parts, members),
            key=f"{key}-b",
            title="Bytes of each member",
            caption="Bytes that each member's weights take in the bundle.",
            size=(6.2, height),
        )
    ]
    if sizes.frontier:
        points = [
            (
                int(c["size_bytes"]),
                float(c.get("gap_in_sample", c.get("gap_out_of_fold"))),
                float(c["gap_held_out"]),
            )
            for c in sizes.frontier
        ]
        chosen = content.weights.details.get("size_bytes") if content.weights else None
        caption = "The best set of members for each number of bytes; further up and left is better."
        figures.append(
            figure(
                charts.frontier(points, chosen), key=f"{key}-f", title="GAP against bytes",
                caption=caption,
            )
        )  # fmt: skip
    else:
        text.append("`yt8m-ens select` shows which members would fit a smaller budget.")
    return Panel(f"{key}-bytes", "Bytes", tuple(text), (), tuple(figures))


def _training(content: Content, key: str) -> Panel:
    title = "Training"
    losses = [(p, m.name, m.loss, ()) for p, m in enumerate(content.members) if m.loss]
    gaps = [
        (p, m.name, sorted(m.checkpoint_gaps.items()), _chosen(m))
        for p, m in enumerate(content.members)
        if m.checkpoint_gaps
    ]
    text, figures = [], []
    if losses:
        caption = "Loss on the batch in training, of labels alone; falling is learning."
        draw = charts.curves(losses, ylabel="training loss")
        figures.append(figure(draw, key=f"{key}-l", title="Training loss", caption=caption))
    else:
        text.append("There are no training logs. `yt8m-ens train` writes them.")
    if gaps:
        caption = (
            "GAP of each checkpoint on a sample of the validation records; filled marks are the "
            "checkpoints that were averaged, or the last one where none were."
        )
        draw = charts.curves(gaps, ylabel="GAP@20")
        figures.append(figure(draw, key=f"{key}-c", title="GAP by checkpoint", caption=caption))
    else:
        text.append(
            "GAP of the checkpoints is not stored: `yt8m-ens run` stores it, "
            "`yt8m-ens eval --all-checkpoints` prints it."
        )
    ranges = [
        f"{member.name}: the mean of steps {', '.join(map(str, member.averaged))}."
        for member in content.members
        if member.averaged
    ]
    return Panel(f"{key}-training", title, (*text, *ranges), (), tuple(figures))


def _chosen(member: Member) -> tuple[int, ...]:
    return member.averaged or tuple(sorted(member.checkpoint_gaps)[-1:])


def _proof(content: Content, key: str) -> Panel:
    if content.checks is None:
        text = "No checks of the archive are stored. `yt8m-ens verify` makes and prints them."
        return Panel(f"{key}-proof", "Proof", (text,))
    rows = tuple(
        (check.name, "holds" if check.is_ok else "fails", check.detail) for check in content.checks
    )
    failed = sum(not check.is_ok for check in content.checks)
    text = f"{len(rows) - failed} of {len(rows)} checks of the archive hold."
    table = Table("Checks of the archive", ("check", "outcome", "found"), rows)
    return Panel(f"{key}-proof", "Proof", (text,), (table,))


def _recipe(content: Content, key: str) -> Panel:
    recipe = content.recipe
    text = []
    if recipe.path:
        changed = ", ".join(f"`{k}={v}`" for k, v in recipe.overrides.items())
        text.append(f"Recipe `{recipe.path}`" + (f", with {changed}." if changed else "."))
    else:
        text.append("No recipe is stored with these files. `yt8m-ens run` stores it.")
    tables = []
    if recipe.steps:
        rows = tuple((k, _duration(s), done or "") for k, (s, done) in recipe.steps.items())
        tables.append(Table("Steps that were run", ("step", "took", "done"), rows))
    if recipe.digests:
        digests = tuple(sorted(recipe.digests.items()))
        tables.append(Table("Digests (SHA-256)", ("artifact", "digest"), digests))
    made = tuple(versions().items())
    tables.append(Table("Versions that made this report", ("part", "version"), made))
    return Panel(
        f"{key}-recipe", "Recipe and versions", tuple(text), tuple(tables), (), recipe.text
    )


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f} min {rest:.0f} s" if minutes else f"{rest:.1f} s"
