"""`yt8m-ens package`."""

from __future__ import annotations

import click

from yt8m_ensemble.cli import options


@click.command(
    epilog=options.epilog(
        "yt8m-ens package --model blend --out blend.tgz",
        "yt8m-ens package --model blend --weights tuned.json --max-size 1GB --out blend.tgz",
    )
)
@click.option("--model", required=True, metavar="DIR", help="Directory of an inference model.")
@click.option("--weights", metavar="FILE", help="Mixture weights to put in place of its own.")
@options.max_size_option
@click.option("--out", required=True, metavar="X.tgz", help="The archive.")
@options.writes_output
def package(*, as_json: bool, **others: object) -> None:
    """Pack an inference model as the archive that the official readers load.

    The same model gives the same bytes. The size limit counts uncompressed files and is checked
    before anything is written.
    """
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.steps.package import package_model

    with render.ProgressBar() as progress:
        result = package_model(progress=progress, **others)  # type: ignore[arg-type]
    members = result.bundle.members if result.bundle else ()
    rows = [[file.name, render.format_bytes(file.nbytes), file.sha256[:16]] for file in members]
    rows.append(["in all", render.format_bytes(result.nbytes), ""])
    tables = [render.Table("Uncompressed", ["file", "size", "sha256"], rows)]
    if result.member_bytes:
        shares = [[n, render.format_bytes(size)] for n, size in result.member_bytes.items()]
        tables.append(render.Table("Weights", ["member", "size"], shares))
    render.emit(result, as_json=as_json, tables=tables, text=result.out)
