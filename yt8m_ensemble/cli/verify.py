"""`yt8m-ens verify`."""

from __future__ import annotations

from yt8m_ensemble.cli.options import Given, command


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
    """
    from yt8m_ensemble.cli.render import Table
    from yt8m_ensemble.steps.verify import verify_bundle

    result = given.run(verify_bundle)
    rows = [[check.name, "ok", check.detail] for check in result.checks]
    tables = [Table(result.path, ["check", "", "found"], rows)]
    compared = [(run.model, run.comparison) for run in result.runs if run.comparison]
    gaps = [
        [model.tensorflow, *("" if gap is None else f"{gap:.5f}" for gap in (c.gap, c.stored_gap))]
        for model, c in compared
        if c.gap is not None
    ]
    if gaps:
        tables.append(Table("GAP", ["TensorFlow", "archive", "stored"], gaps))
    given.emit(result, tables=tables, text=f"{result.path} is sound.")
