"""`yt8m-ens eval`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from yt8m_ensemble.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yt8m_ensemble.metrics import Report
    from yt8m_ensemble.scoring.evaluation import Evaluation

METRICS = ["GAP", "Hit@1", "PERR", "mAP", "mAP, all classes", "loss", "videos"]
OF_PREDICTIONS = {"predictions", "weights", "intersect", "top_k", "as_json"}
ONLY_OF_PREDICTIONS = {"predictions", "weights", "intersect"}


@click.command(
    "eval",
    epilog=options.epilog(
        "yt8m-ens eval --model runs/moe2 --data 'validate*.tfrecord'",
        "yt8m-ens eval --model runs/moe2@5000 --model blend.tgz --data 'validate*' --json",
        "yt8m-ens eval --model runs/moe2 --all-checkpoints --data 'validate*' --sample-shards 60",
        "yt8m-ens eval --model runs/moe2 --watch --data 'validate*' --tensorboard runs/moe2/eval",
        "yt8m-ens eval --predictions val.h5 --weights weights.json",
    ),
)
@click.option("--model", "models", multiple=True, metavar="PATH", help="A model; repeatable.")
@click.option("--data", metavar="GLOB", help="Labelled records to score with the models.")
@click.option(
    "--predictions",
    multiple=True,
    metavar="H5",
    help="Instead of models and records: scores and labels cached by predict; repeatable.",
)
@click.option("--weights", metavar="W.json", help="With --predictions: also evaluate this mixture.")
@click.option(
    "--intersect", is_flag=True, help="With --predictions: keep the videos that all files hold."
)
@click.option(
    "--checkpoint",
    "checkpoints",
    callback=options.split_commas,
    metavar="a,b,c",
    help="Steps of the train directory to evaluate.",
)
@click.option("--all-checkpoints", is_flag=True, help="Evaluate all of each train directory.")
@click.option("--watch", is_flag=True, help="Go on with checkpoints that appear, until Ctrl-C.")
@click.option(
    "--poll-interval",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="S",
    help="With --watch: seconds between two looks.",
)
@click.option(
    "--stop-after-idle",
    type=click.FloatRange(min=0),
    metavar="S",
    help="With --watch: stop after S seconds without a new checkpoint.",
)
@click.option(
    "--sample-shards",
    "sample",
    type=click.IntRange(min=1),
    metavar="K",
    help="Read only K record files, drawn with --seed, the same for every model.",
)
@options.seed_option
@click.option("--tensorboard", metavar="DIR", help="Write scalars for TensorBoard by global step.")
@click.option("--architecture", metavar="NAME", help="Overrides what the models' files say.")
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Pairs a video that GAP keeps.",
)
@options.num_classes_option
@options.scoring_batch_size_option
@options.json_option
def evaluate(
    *,
    predictions: tuple[str, ...],
    weights: str | None,
    intersect: bool,
    top_k: int,
    as_json: bool,
    **others: object,
) -> None:
    """Compute Hit@1, PERR, mAP, GAP and the loss of models over labelled records.

    "mAP" is over the classes that occur. The checkpoints of one train directory share one graph
    and one pass of set-up; only their weights are exchanged.

    With --predictions, cached scores are evaluated and no model is run. Of a cache that keeps a top
    K only, bounds are shown that hold for GAP with all scores.
    """
    _check_options(bool(predictions))
    if predictions:
        _evaluate_predictions(predictions, weights, intersect, top_k, as_json=as_json)
    else:
        _evaluate_models(top_k=top_k, as_json=as_json, **others)  # type: ignore[arg-type]


def _check_options(of_predictions: bool) -> None:
    """Refuse options of the other kind of evaluation.

    Raises:
        UsageError: If one is given, or a needed one is not.
    """
    context = click.get_current_context()
    by_user = click.core.ParameterSource.COMMANDLINE
    for parameter in context.command.params:
        name = str(parameter.name)
        if context.get_parameter_source(name) is not by_user:
            continue
        if of_predictions and name not in OF_PREDICTIONS:
            msg = f"{parameter.opts[0]} is for models, and --predictions runs none. Leave one out."
            raise click.UsageError(msg)
        if not of_predictions and name in ONLY_OF_PREDICTIONS:
            msg = f"{parameter.opts[0]} needs --predictions."
            raise click.UsageError(msg)
    if not of_predictions and not (context.params["models"] and context.params["data"]):
        msg = "Give --model and --data to run models, or --predictions to evaluate cached scores."
        raise click.UsageError(msg)


def _evaluate_predictions(
    predictions: Sequence[str],
    weights: str | None,
    intersect: bool,
    top_k: int,
    *,
    as_json: bool,
) -> None:
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.steps.eval_predictions import evaluate_predictions

    with render.ProgressBar() as progress:
        result = evaluate_predictions(
            predictions=predictions,
            weights=weights,
            top_k=top_k,
            intersect=intersect,
            progress=progress,
        )
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
            f"Of each member the top {result.top_k} are known; the others count as 0. With all "
            'scores GAP lies within "GAP certified"; the loss would be higher.'
        )
    render.emit(
        result, as_json=as_json, tables=[render.Table("Cached scores", columns, rows)], text=text
    )


def _evaluate_models(
    *,
    watch: bool,
    poll_interval: float,
    stop_after_idle: float | None,
    as_json: bool,
    **others: object,
) -> None:
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.scoring.targets import Watch
    from yt8m_ensemble.steps.eval import evaluate_models

    with render.ProgressBar() as progress:
        result = evaluate_models(
            watch=Watch(poll_interval, stop_after_idle) if watch else None,
            progress=progress,
            on_evaluation=_tell if watch else None,
            **others,  # type: ignore[arg-type]  # click has checked the types
        )
    title = f"Over {len(result.record_files)} record files"
    table = render.Table(
        title, ["model", "step", *METRICS], [_row(found) for found in result.evaluations]
    )
    text = f"Best: {result.best}" if len(result.evaluations) > 1 else ""
    render.emit(result, as_json=as_json, tables=[table], text=text)


def _row(found: Evaluation) -> list[str]:
    step = "" if found.global_step is None else str(found.global_step)
    return [found.path, step, *_metrics(found.report)]


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
    return [*(f"{n:.5f}" for n in numbers), f"{metrics.num_videos:,}"]


def _tell(found: Evaluation) -> None:
    """Print one evaluation while others may follow."""
    click.echo(f"{found.path}: GAP {found.report.metrics.gap:.5f}", err=True)
