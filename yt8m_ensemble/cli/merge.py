"""`yt8m-ens merge`."""

from __future__ import annotations

from typing import Any

import click

from yt8m_ensemble.cli.options import Given, command

FP16_OPTIONS = (
    click.Option(["--fp16"], is_flag=True, help="Store weights as float16."),
    click.Option(
        ["--fp16-policy"],
        type=click.Choice(["auto", "original", "seed"]),
        metavar="[auto|original]",
        help="With `--fp16`: all weights of 1,024 values or more except batch-norm statistics, or "
        "the four matrices that the 10th-place solution stored so.  [default: auto]",
    ),
    click.Option(
        ["--like"],
        type=click.Choice(["original"]),
        help="Name variables and store float16 as the 10th-place solution does.",
    ),
)
"""How the command line spells the field `fp16`, and both fields that copy the original."""


@command(
    "merge",
    "MergeOptions",
    dry_run=True,
    extra=FP16_OPTIONS,
    leave_out=("fp16",),
    old_flags={
        "input_tensor": ["--input"],
        "num_frames_tensor": ["--num-frames"],
        "predictions_tensor": ["--predictions"],
    },
    examples=(
        "yt8m-ens merge --member runs/moe2 --member runs/moe4 --fp16 --out blend",
        "yt8m-ens merge --member a=avg_a --member b=avg_b --weights weights.json --out blend",
    ),
)
def merge(given: Given) -> None:
    """Merge models into one inference graph with the mixture weights inside.

    Members may be of any architecture or code, as long as they read the same features and predict
    the same classes. Work that members share, such as normalizing the input, is done once.
    """
    from yt8m_ensemble.cli.render import Table, cast_table, format_bytes
    from yt8m_ensemble.steps.merge import MergeResult, merge_models, plan_merge_models

    chosen = _resolved(given)
    result = chosen.run(plan_merge_models) if given.dry_run else chosen.run(merge_models)
    shares = zip(result.weights.names, result.weights.values, strict=True)
    sizes = result.member_nbytes
    opened = {found.name: found.label for found in result.opened}
    rows = [[name, f"{w:.4f}", format_bytes(sizes[name]), opened[name]] for name, w in shares]
    rows.append(["merged", "1.0000", format_bytes(result.nbytes), result.directory])
    columns = ["member", "weight", "size", "file"]
    tables = [Table(f"Mixed by {result.weights.space}", columns, rows)]
    if isinstance(result, MergeResult) and result.casts:
        tables.append(cast_table(result.casts))
    given.emit(result, tables=tables, text="\n".join(result.notes))


def _resolved(given: Given) -> Given:
    """Return what was given with `fp16` as the field has it."""
    values: dict[str, Any] = dict(given.values)
    is_like, policy = values.pop("like", None), values.pop("fp16_policy", None)
    if values.pop("fp16", False):
        values["fp16"] = policy or is_like or "auto"
    elif is_like:
        values["fp16"] = is_like
    if is_like:
        values.setdefault("naming", is_like)
    return Given(values, given.flags, given.as_json, given.dry_run)
