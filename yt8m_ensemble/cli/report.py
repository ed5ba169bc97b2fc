"""`yt8m-ens report`."""

from __future__ import annotations

import click

from yt8m_ensemble.cli.options import Given, command


@command(
    "report",
    "ReportOptions",
    examples=(
        "yt8m-ens report runs/quickstart --out quickstart.html",
        "yt8m-ens report runs/before runs/after --margin 0.0005 --out change.html",
        "yt8m-ens report --predictions val.h5 --weights w.json --bundle blend.tgz --out blend.html",
    ),
)
def report(given: Given) -> None:
    """Write one page on what a run achieved: no scripts, no network; Markdown and JSON beside it.

    Runs no model. Of two runs, compare the second with the first: exit 1 where it is worse.
    """
    from yt8m_ensemble.steps.report import make_report

    result = given.run(make_report)
    sentences = [
        *(f"{name}: {sentence}" for name, sentence in result.verdicts.items()),
        *(comparison.sentence for comparison in result.comparisons),
        f"Written: {result.page}, {result.markdown}, {result.data}",
    ]
    given.emit(result, text="\n".join(sentences))
    if not result.passes:
        click.get_current_context().exit(1)
