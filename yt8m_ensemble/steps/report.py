"""`report`: one page that shows and proves what a run, or loose files, achieved."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.errors import RecipeError
from yt8m_ensemble.options import ReportOptions, command
from yt8m_ensemble.reporting.between_runs import RunComparison, compare_runs, comparison_panel
from yt8m_ensemble.reporting.content import Content, as_json, gather
from yt8m_ensemble.reporting.pages import render_html, render_markdown
from yt8m_ensemble.reporting.panels import make_section
from yt8m_ensemble.reporting.sources import Sources, find_sources, loose_sources
from yt8m_ensemble.storage.vocabulary import read_vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping

_TWO = 2


@dataclass(frozen=True)
class ReportResult:
    """Result of `make_report`.

    Args:
        page: The HTML page.
        markdown: Its Markdown twin.
        data: Its JSON twin.
        verdicts: By ensemble, one sentence.
        comparisons: Of two runs, one for each ensemble that both have; empty otherwise.
    """

    page: str
    markdown: str
    data: str
    verdicts: Mapping[str, str]
    comparisons: tuple[RunComparison, ...]

    @property
    def passes(self) -> bool:
        """Whether no comparison fails."""
        return all(comparison.passes for comparison in self.comparisons)


@command(ReportOptions)
def make_report(options: ReportOptions) -> ReportResult:
    """Write a report on runs or loose files: HTML without scripts or network, Markdown and JSON.

    Reads what is there and runs no model. Of two runs the second is compared with the first.

    Returns:
        Where it is, and its verdicts.

    Raises:
        OutputExistsError: If an output exists and `force` is not set.
        RecipeError: If a run holds no ensemble, or two runs none of one name.
    """
    stem = options.out.rpartition(".")[0]
    outputs = options.out, f"{stem}.md", f"{stem}.json"
    for path in outputs:
        files.check_absent(path, force=options.force)
    vocabulary = read_vocabulary(options.vocabulary)
    runs = [find_sources(run) for run in options.runs] or [
        (
            loose_sources(
                predictions=options.predictions,
                stored=options.stored,
                weights=options.weights,
                bundle=options.bundle,
                train_dirs=options.train_dirs or {},
            ),
        )
    ]
    pairs = _pair(runs, options.runs) if len(runs) == _TWO else []
    if len(runs) > 1:
        runs = _renamed(runs, options.runs)
    sources = [source for run in runs for source in run]
    contents = []
    for number, source in enumerate(sources):
        options.progress("report", number, len(sources), unit="ensembles")
        contents.append(gather(source, margin=options.margin, seed=options.seed))
    comparisons = tuple(_compare(pair, sources, contents, options) for pair in pairs)
    sections = [
        make_section(content, vocabulary=vocabulary, key=f"s{number}")
        for number, content in enumerate(contents)
    ]
    top = [comparison_panel(found, f"c{number}") for number, found in enumerate(comparisons)]
    title = f"Report on {', '.join(options.runs) or sources[0].name}"
    document = _jsonable(as_json(tuple(contents)))
    if comparisons:
        document["comparison"] = _jsonable(comparisons)
    for path, text in zip(
        outputs,
        (
            render_html(title, top, sections),
            render_markdown("report.md.j2", title=title, top=top, sections=sections),
            json.dumps(document, indent=2, allow_nan=False),
        ),
        strict=True,
    ):
        files.write_text(path, text, force=options.force)
    verdicts = {content.name: content.verdict.sentence for content in contents}
    return ReportResult(*outputs, verdicts, comparisons)


def _pair(runs: list[tuple[Sources, ...]], paths: Any) -> list[tuple[str, int, int]]:
    """Return name and places of ensembles to compare; single ones whatever their names.

    Raises:
        RecipeError: If there are none.
    """
    first, second = ([source.name for source in run] for run in runs)
    if len(first) == len(second) == 1:
        return [(first[0], 0, 1)]
    pairs = [
        (name, first.index(name), len(first) + second.index(name))
        for name in first
        if name in second
    ]
    if not pairs:
        msg = (
            f"'{paths[0]}' has the ensembles {', '.join(first)}, '{paths[1]}' has "
            f"{', '.join(second)}. Give two runs with an ensemble of one name."
        )
        raise RecipeError(msg, paths=list(paths))
    return pairs


def _renamed(runs: list[tuple[Sources, ...]], paths: Any) -> list[tuple[Sources, ...]]:
    """Return ensembles whose names tell their runs apart."""
    labels = [Path(path).name for path in paths]
    if len(set(labels)) < len(labels):
        labels = [f"{number} {label}" for number, label in enumerate(labels, 1)]
    return [
        tuple(replace(source, name=f"{label}: {source.name}") for source in run)
        for label, run in zip(labels, runs, strict=True)
    ]


def _compare(
    pair: tuple[str, int, int],
    sources: list[Sources],
    contents: list[Content],
    options: ReportOptions,
) -> RunComparison:
    name, first, second = pair
    found = compare_runs(
        (sources[first], sources[second]),
        (contents[first], contents[second]),
        margin=options.margin,
        seed=options.seed,
    )
    return replace(found, name=name)


def _jsonable(value: Any) -> Any:
    """Return plain JSON values; numbers that JSON lacks become null."""
    if is_dataclass(value):
        return {item.name: _jsonable(getattr(value, item.name)) for item in fields(value)}
    if hasattr(value, "items"):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _jsonable(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
