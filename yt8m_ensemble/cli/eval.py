"""`yt8m-ens eval`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from yt8m_ensemble.cli import options

if TYPE_CHECKING:
    from yt8m_ensemble.steps.eval import Evaluation

COLUMNS = ["model", "step", "GAP", "Hit@1", "PERR", "mAP", "mAP, all classes", "loss", "videos"]


@click.command(
    "eval",
    epilog=options.epilog(
        "yt8m-ens eval --model runs/moe2 --data 'validate*.tfrecord'",
        "yt8m-ens eval --model runs/moe2@5000 --model blend.tgz --data 'validate*' --json",
        "yt8m-ens eval --model runs/moe2 --all-checkpoints --data 'validate*' --sample-shards 60",
        "yt8m-ens eval --model runs/moe2 --watch --data 'validate*' --tensorboard runs/moe2/eval",
    ),
)
@click.option(
    "--model", "models", multiple=True, required=True, metavar="PATH", help="A model; repeatable."
)
@click.option("--data", required=True, metavar="GLOB", help="Labelled records.")
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
    checkpoints: tuple[str, ...],
    watch: bool,
    poll_interval: float,
    stop_after_idle: float | None,
    as_json: bool,
    **others: object,
) -> None:
    """Compute Hit@1, PERR, mAP, GAP and the loss of models over labelled records.

    "mAP" is over the classes that occur. The checkpoints of one train directory share one graph
    and one pass of set-up; only their weights are exchanged.
    """
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.steps.eval import evaluate_models
    from yt8m_ensemble.steps.eval_targets import Watch

    with render.ProgressBar() as progress:
        result = evaluate_models(
            checkpoints=checkpoints,
            watch=Watch(poll_interval, stop_after_idle) if watch else None,
            progress=progress,
            on_evaluation=_tell if watch else None,
            **others,  # type: ignore[arg-type]  # click has checked the types
        )
    title = f"Over {len(result.record_files)} record files"
    table = render.Table(title, COLUMNS, [_row(found) for found in result.evaluations])
    text = f"Best: {result.best}" if len(result.evaluations) > 1 else ""
    render.emit(result, as_json=as_json, tables=[table], text=text)


def _row(found: Evaluation) -> list[str]:
    metrics = found.report.metrics
    numbers = [
        metrics.gap,
        metrics.hit_at_one,
        metrics.perr,
        metrics.mean_average_precision,
        metrics.mean_average_precision_all_classes,
        found.report.loss,
    ]
    step = "" if found.global_step is None else str(found.global_step)
    return [found.path, step, *(f"{n:.5f}" for n in numbers), f"{metrics.num_videos:,}"]


def _tell(found: Evaluation) -> None:
    """Print one evaluation while others may follow."""
    click.echo(f"{found.path}: GAP {found.report.metrics.gap:.5f}", err=True)
