"""`yt8m-ens verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yt8m_ensemble.cli.options import Given, command
from yt8m_ensemble.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yt8m_ensemble.values import Check


@command(
    "verify",
    "VerifyOptions",
    examples=(
        "yt8m-ens verify blend.tgz",
        "yt8m-ens verify blend.tgz --data 'validate*.tfrecord' --against members.h5",
        "yt8m-ens verify blend.tgz --tf1 ~/venvs/tf115/bin/python",
    ),
)
def verify(given: Given) -> None:
    """Prove an archive: its structure, that plain TensorFlow loads it, what it predicts.

    The archive is loaded in a fresh process that holds none of this toolkit's code.
    """  # noqa: DOC501 - this text is the command's help
    from yt8m_ensemble.cli.render import Table, print_tables
    from yt8m_ensemble.steps.verify import verify_bundle

    def table(path: str, checks: Sequence[Check], reader: str) -> Table:
        rows = [
            [
                check.name,
                "ok" if check.is_ok else "refused" if reader in check.readers else "untidy",
                check.detail,
            ]
            for check in checks
        ]
        return Table(path, ["check", "", "found"], rows)

    try:
        result = given.run(verify_bundle)
    except BundleError as error:
        if "checks" in error.details:
            path, checks, reader = (error.details[key] for key in ("path", "checks", "reader"))
            print_tables([table(path, checks, reader)], "", to_stderr=True)  # type: ignore[arg-type]
        raise
    tables = [table(result.path, result.checks, result.reader)]
    compared = [(run.model, run.comparison) for run in result.runs if run.comparison]
    gaps = [
        [model.tensorflow, *("" if gap is None else f"{gap:.5f}" for gap in (c.gap, c.stored_gap))]
        for model, c in compared
        if c.gap is not None
    ]
    if gaps:
        tables.append(Table("GAP", ["TensorFlow", "archive", "stored"], gaps))
    equivalent = [
        f"In TensorFlow {model.tensorflow} the archive and the stored scores are "
        f"{comparison.equivalence.sentence}.\n"
        for model, comparison in compared
        if comparison.equivalence
    ]
    whom = "" if result.reader == "ours" else f" for the reader of {result.reader}"
    given.emit(result, tables=tables, text=f"{''.join(equivalent)}{result.path} is sound{whom}.")
