"""`yt8m-ens edit`."""

from __future__ import annotations

from yt8m_ensemble.cli.options import Given, command


@command(
    "edit",
    "EditOptions",
    dry_run=True,
    examples=(
        "yt8m-ens edit runs/moe2/model.ckpt-9000 --rename 'tower/(.*)=>net/\\1' --out net",
        "yt8m-ens edit runs/moe2/model.ckpt-9000 --drop '*Adam*' --cast '*=float16' --out small",
    ),
)
def edit(given: Given) -> None:
    """Rename, drop, keep and cast tensors of SOURCE, in this order.

    Globs are of the new names. SOURCE is any checkpoint or file of weights.
    """
    from yt8m_ensemble.cli.render import Table, format_bytes
    from yt8m_ensemble.steps.edit import edit_weights, plan_edit_weights

    result = given.run(plan_edit_weights if given.dry_run else edit_weights)
    rows = [
        [change.name, change.action, change.new_name or "", change.dtype]
        for change in result.changes
        if change.action != "keep"
    ]
    tables = [Table("Changes", ["tensor", "action", "new name", "dtype"], rows)] if rows else []
    text = f"{result.num_tensors} tensors, {format_bytes(result.nbytes)}: {result.out}"
    given.emit(result, tables=tables, text=text)
