"""`yt8m-ens eval`."""

from __future__ import annotations

import click

from yt8m_ensemble.cli import options


@click.command(
    "eval",
    epilog=options.epilog(
        "yt8m-ens eval --model runs/moe2 --data 'validate*.tfrecord'",
        "yt8m-ens eval --model runs/moe2@5000 --data 'validate*.tfrecord' --json",
    ),
)
@click.option("--model", required=True, metavar="PATH", help="Any model: see the README.")
@click.option("--data", required=True, metavar="GLOB", help="Labelled records.")
@click.option("--architecture", metavar="NAME", help="Overrides what the model's files say.")
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Pairs a video that GAP keeps.",
)
@options.num_classes_option
@options.batch_size_option
@options.json_option
def evaluate(*, as_json: bool, **others: object) -> None:
    """Compute Hit@1, PERR, mAP, GAP and the loss of a model over labelled records."""
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.steps.eval import evaluate_model

    with render.ProgressBar() as progress:
        result = evaluate_model(progress=progress, **others)  # type: ignore[arg-type]
    found = result.report.metrics
    rows = [
        ["GAP", f"{found.gap:.5f}"],
        ["Hit@1", f"{found.hit_at_one:.5f}"],
        ["PERR", f"{found.perr:.5f}"],
        ["mAP (classes that occur)", f"{found.mean_average_precision:.5f}"],
        ["mAP (all classes)", f"{found.mean_average_precision_all_classes:.5f}"],
        ["loss", f"{result.report.loss:.5f}"],
        ["videos", f"{found.num_videos:,}"],
    ]
    title = f"{result.path} ({result.architecture})"
    render.emit(result, as_json=as_json, tables=[render.Table(title, ["metric", "value"], rows)])
