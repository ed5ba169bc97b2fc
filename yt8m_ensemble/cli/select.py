"""`yt8m-ens select`."""

from __future__ import annotations

from yt8m_ensemble.cli.options import Given, command


@command(
    "select",
    "SelectOptions",
    dry_run=True,
    examples=(
        "yt8m-ens select --predictions val.h5 --model a=runs/a --model b=runs/b --max-size 1GB",
        "yt8m-ens select --predictions val.h5 --size a=480MB --size b=900MB --plot frontier.png",
    ),
)
def select(given: Given) -> None:
    """Choose the members, and their precision, that fit a byte budget with the highest GAP."""
    from yt8m_ensemble.cli.render import Table, format_bytes
    from yt8m_ensemble.plotting import describe_choice
    from yt8m_ensemble.steps.select import SelectResult, plan_select_ensemble, select_ensemble

    result = given.run(plan_select_ensemble) if given.dry_run else given.run(select_ensemble)
    variants = [
        (v.name, format_bytes(v.size_bytes), "measured" if v.is_measured else "assumed")
        for v in result.variants
    ]
    tables = [Table("Variants", ("variant", "size", "scores"), variants)]
    text = "Nothing chosen: a dry run."
    if isinstance(result, SelectResult):
        frontier = [
            (describe_choice(c), format_bytes(c.size_bytes), f"{c.gap_in_sample:.5f}",
             f"{c.gap_held_out:.5f}")
            for c in result.selection.frontier
        ]  # fmt: skip
        columns = ("members", "size", "in sample", "held out")
        tables.append(Table("GAP against bytes", columns, frontier))
        proof, tuned = result.selection.proof, result.selection.tuned
        how = (
            "proven best in sample"
            if proof.is_proven
            else f"best found; another set can be better by {proof.gap:.5f} at most"
        )
        text = (
            f"Chosen ({how}): {describe_choice(result.selection.chosen)}.\n"
            f"{tuned.judgements[-1].verdict}"
        )
        if any(not variant.is_measured for variant in result.variants):
            text += (
                "\nAssumed scores are those of the member itself. Cache those of the stored model "
                "and test that with `yt8m-ens compare BEFORE.h5 AFTER.h5`."
            )
    given.emit(result, tables=tables, text=text)
