"""Options of `report`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.options.field import option
from yt8m_ensemble.options.shared import (
    ClassNamesOptions,
    MarginOptions,
    OutputOptions,
    SeedOptions,
)


@dataclass(frozen=True, kw_only=True)
class ReportOptions(ClassNamesOptions, MarginOptions, SeedOptions, OutputOptions):
    """Options of `make_report`."""

    runs: Annotated[
        Sequence[str],
        option(
            "Directories that recipes call `out`; of two, the second is compared with the first.",
            metavar="[RUN...]",
            parse="rest",
            is_argument=True,
        ),
    ] = ()
    predictions: Annotated[
        Sequence[str],
        option(
            "Loose files instead of runs: prediction caches of the members.",
            metavar="H5",
            parse="repeat",
        ),
    ] = ()
    stored: Annotated[
        str | None,
        option("Prediction cache of the bundle, whose weights are stored in fewer bits.",
               metavar="H5"),
    ] = None  # fmt: skip
    weights: Annotated[str | None, option("Mixture weights.", metavar="W.json")] = None
    bundle: Annotated[str | None, option("The archive.", metavar="X.tgz")] = None
    train_dirs: Annotated[
        Mapping[str, str] | None,
        option(
            "Train directory of a member.",
            flag="--train-dir",
            metavar="NAME=DIR",
            parse="pairs",
        ),
    ] = None
    out: Annotated[
        str,
        option("Page to write; a `.md` and a `.json` of its name go beside it.", metavar="HTML"),
    ] = "report.html"

    def check(self) -> None:
        """Refuse nothing to report on, both kinds of it, and outputs that would be one file.

        Raises:
            UsageError: If there are any.
        """
        loose = (*self.predictions, self.weights, self.bundle, *(self.train_dirs or {}))
        if bool(self.runs) == any(loose):
            msg = (
                "Nothing to report on, or both runs and loose files. Give RUN, or loose files with "
                "`--predictions`, `--weights`, `--bundle` and `--train-dir`."
            )
            raise UsageError(msg, runs=self.runs)
        if not self.out.endswith((".html", ".htm")):
            msg = f"`--out` names '{self.out}', but the page is HTML. Let its name end in `.html`."
            raise UsageError(msg, option="--out", found=self.out)
