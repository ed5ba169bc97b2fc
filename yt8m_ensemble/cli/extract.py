"""`yt8m-ens extract`."""

from __future__ import annotations

from yt8m_ensemble.cli.options import Given, command


@command(
    "extract",
    "ExtractOptions",
    dry_run=True,
    examples=(
        "yt8m-ens extract blend.tgz --out members",
        "yt8m-ens extract blend --member moe2 --decode --out members",
    ),
)
def extract(given: Given) -> None:
    """Take ENSEMBLE apart into an inference model for each member.

    ENSEMBLE is a merged model of ours, of the original code, or any whose last operations mix
    members; where names are not known, they are model0, model1 and so on.
    """
    from yt8m_ensemble.cli.render import Table, format_bytes
    from yt8m_ensemble.steps.extract import extract_members, plan_extract_members

    result = given.run(plan_extract_members if given.dry_run else extract_members)
    rows = [[m.name, str(m.num_tensors), format_bytes(m.nbytes)] for m in result.members]
    tables = [Table(result.ensemble, ["member", "tensors", "size"], rows)]
    given.emit(result, tables=tables, text=result.out)
