"""`yt8m-ens package`."""

from __future__ import annotations

from yt8m_ensemble.cli.options import Given, command


@command(
    "package",
    "PackageOptions",
    dry_run=True,
    examples=(
        "yt8m-ens package --model blend --out blend.tgz",
        "yt8m-ens package --model blend --weights tuned.json --max-size 1GB --out blend.tgz",
    ),
)
def package(given: Given) -> None:
    """Pack an inference model as the archive that the official readers load.

    The same model gives the same bytes. The size limit counts uncompressed files and is checked
    before anything is written.
    """
    from yt8m_ensemble.cli.render import Table, format_bytes
    from yt8m_ensemble.steps.package import PackageResult, package_model, plan_package_model

    result = given.run(plan_package_model) if given.dry_run else given.run(package_model)
    members = result.bundle.members if isinstance(result, PackageResult) else ()
    rows = [[file.name, format_bytes(file.nbytes), file.sha256[:16]] for file in members]
    rows.append(["in all", format_bytes(result.nbytes), ""])
    tables = [Table("Uncompressed", ["file", "size", "sha256"], rows)]
    if result.member_bytes:
        shares = [[n, format_bytes(size)] for n, size in result.member_bytes.items()]
        tables.append(Table("Weights", ["member", "size"], shares))
    given.emit(result, tables=tables, text=result.out)
