"""`yt8m-ens eval`."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

import click

from yt8m_ensemble.cli.options import Given, command

if TYPE_CHECKING:
    from yt8m_ensemble.metrics import Report
    from yt8m_ensemble.scoring.evaluation import Evaluation

METRICS = ["GAP", "Hit@1", "PERR", "mAP", "mAP, all classes", "loss", "videos"]


@command(
    "eval",
    "EvalOptions",
    "EvalPredictionsOptions",
    examples=(
        "yt8m-ens eval --model runs/moe2 --data 'validate*.tfrecord'",
        "yt8m-ens eval --model runs/moe2@5000 --model blend.tgz --data 'validate*' --json",
        "yt8m-ens eval --model runs/moe2 --all-checkpoints --data 'validate*' --sample-shards 60",
        "yt8m-ens eval --model runs/moe2 --watch --data 'validate*' --tensorboard runs/moe2/eval",
        "yt8m-ens eval --predictions val.h5 --weights weights.json",
    ),
)
def evaluate(given: Given) -> None:
    """Compute Hit@1, PERR, mAP, GAP and the loss of models over labeled records.

    "mAP" is over the classes that occur. The checkpoints of one train directory share one graph
    and one pass of set-up; only their weights are exchanged.

    With `--predictions`, cached scores are evaluated and no model is run. Of a cache that keeps a
    top K only, bounds are shown that hold for GAP with all scores.
    """  # noqa: DOC501 - a help text
    of_caches = [given.flags[name] for name in ("weights", "intersect") if name in given]
    if "predictions" in given:
        _evaluate_predictions(given)
    elif of_caches:
        msg = f"{of_caches[0]} needs --predictions."
        raise click.UsageError(msg)
    elif "models" in given and "data" in given:
        _evaluate_models(given)
    else:
        msg = "Give --model and --data to run models, or --predictions to evaluate cached scores."
        raise click.UsageError(msg)


def _evaluate_predictions(given: Given) -> None:
    from yt8m_ensemble.cli.render import Table
    from yt8m_ensemble.steps.eval_predictions import evaluate_predictions

    result = given.run(evaluate_predictions)
    rows, columns, text = [], ["scores of", *METRICS], ""
    for found in result.evaluations:
        row = [found.name, *_metrics(found.report)]
        if result.top_k:
            low, high = found.gap_interval
            row.append("exact" if found.is_certified else f"{low:.5f} … {high:.5f}")
        rows.append(row)
    if result.top_k:
        columns.append("GAP certified")
        text = (
            f"Of each member the top {result.top_k} are known; the others count as half of the "
            "lowest of these, and the loss is not known. With all scores GAP lies within "
            '"GAP certified".'
        )
    given.emit(result, tables=[Table("Cached scores", columns, rows)], text=text)


def _evaluate_models(given: Given) -> None:
    from yt8m_ensemble.cli.render import Table
    from yt8m_ensemble.steps.eval import evaluate_models

    more = {"on_evaluation": _report} if "watch" in given else {}
    result = given.run(evaluate_models, **more)
    title = f"Over {len(result.record_files)} record files"
    table = Table(title, ["file", "step", *METRICS], [_row(found) for found in result.evaluations])
    lines = [f"Best: {result.best}"] if len(result.evaluations) > 1 else []
    lines += dict.fromkeys(text for found in result.evaluations for text in found.warnings)
    given.emit(result, tables=[table], text="\n".join(lines))


def _row(found: Evaluation) -> list[str]:
    step = "" if found.global_step is None else str(found.global_step)
    return [found.file, step, *_metrics(found.report)]


def _metrics(report: Report) -> list[str]:
    metrics = report.metrics
    numbers = [
        metrics.gap,
        metrics.hit_at_one,
        metrics.perr,
        metrics.mean_average_precision,
        metrics.mean_average_precision_all_classes,
        report.loss,
    ]
    texts = ["-" if isnan(number) else f"{number:.5f}" for number in numbers]
    return [*texts, f"{metrics.num_videos:,}"]


def _report(found: Evaluation) -> None:
    """Print one evaluation while others may follow."""
    click.echo(f"{found.path}: GAP {found.report.metrics.gap:.5f}", err=True)
