"""`yt8m-ens avg-ckpt`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yt8m_ensemble.cli.options import Given, command

if TYPE_CHECKING:
    from yt8m_ensemble.cli.render import Table
    from yt8m_ensemble.steps.avg_ckpt import AveragedCheckpoint


@command(
    "avg-ckpt",
    "AverageOptions",
    dry_run=True,
    examples=(
        "yt8m-ens avg-ckpt --prefix runs/moe2 --last 5 --out runs/avg/moe2",
        "yt8m-ens avg-ckpt --prefix runs/moe2 --last auto --eval-data 'val*' --out runs/avg/moe2",
        "yt8m-ens avg-ckpt --prefix runs/moe2/model.ckpt --range 7000,9000 --out runs/avg/moe2",
        "yt8m-ens avg-ckpt --checkpoints a/model.ckpt-5,a/model.ckpt-9 --weights 1,2 --out avg",
    ),
)
def avg_ckpt(given: Given) -> None:
    """Average checkpoints of one training run into one checkpoint.

    Sums are made in float64, block by block: memory does not grow with the number or size of the
    checkpoints. The optimizer's slots are left out, the global step is the newest one's, and the
    train directory's `checkpoint` file is not touched.
    """
    from yt8m_ensemble.steps.avg_ckpt import average_checkpoints, plan_average_checkpoints

    result = given.run(plan_average_checkpoints if given.dry_run else average_checkpoints)
    lines = [*result.notes, result.prefix]
    if result.choice and (held := result.choice.held_out):
        lines.insert(
            0,
            f"Over {held.num_videos:,} videos held out, '{result.choice.chosen}' differs from the "
            f"last checkpoint by {held.difference:+.5f} GAP (95 % interval {held.interval[0]:+.5f} "
            f"to {held.interval[1]:+.5f}).",
        )
    given.emit(result, tables=_tables(result), text="\n".join(lines))


def _tables(result: AveragedCheckpoint) -> list[Table]:
    from yt8m_ensemble.cli.render import Table, format_bytes

    tables = []
    if result.trials:
        rows = [
            [str(len(t.inputs)), t.inputs[-1], f"{t.score:.5f}", "yes" if t.kept else ""]
            for t in result.trials
        ]
        tables.append(Table("Tried", ["averaged", "the one added", "GAP", "kept"], rows))
    if result.choice:
        rows = [
            [one.name, f"{one.gap:.5f}", f"{one.difference:+.5f}",
             f"{one.interval[0]:+.5f} … {one.interval[1]:+.5f}",
             "yes" if one.name == result.choice.chosen else ""]
            for one in result.choice.candidates
        ]  # fmt: skip
        title = f"Averages by GAP of {result.choice.num_videos:,} videos"
        columns = ["average", "GAP", "over the last", "95 % interval", "chosen"]
        tables.append(Table(title, columns, rows))
    if found := result.recalibration:
        row = [f"{found.before:.5f}", f"{found.after:.5f}", "yes" if found.kept else "no"]
        tables.append(Table("Batch norm estimated anew", ["before", "after", "kept"], [row]))
    pairs = zip(result.inputs, result.weights, strict=True)
    title = f"Mean of {len(result.inputs)} checkpoints: {result.num_tensors} tensors, "
    title += format_bytes(result.nbytes)
    rows = [[path, f"{weight:.4f}"] for path, weight in pairs]
    return [*tables, Table(title, ["checkpoint", "weight"], rows)]
