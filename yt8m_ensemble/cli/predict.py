"""`yt8m-ens predict`."""

from __future__ import annotations

import click

from yt8m_ensemble.cli import options


@click.command(
    epilog=options.epilog(
        "yt8m-ens predict --model blend.tgz --data 'test*.tfrecord' --csv submission.csv",
        "yt8m-ens predict --model a=avg_a --model b=avg_b --data 'val*' --cache val.h5",
        "yt8m-ens predict --model blend --data 'val*' --cache part0.h5 --shard 0/2",
        "yt8m-ens predict --model blend --data 'val*' --cache val.h5 --runner beam --num-workers 2",
    )
)
@click.option(
    "--model",
    "models",
    multiple=True,
    required=True,
    metavar="[NAME=]PATH",
    help="A model; repeat for several. A merged one brings all its members.",
)
@click.option("--data", required=True, metavar="GLOB", help="Records to score.")
@click.option("--csv", metavar="OUT", help="Write the Kaggle submission of one model.")
@click.option("--cache", metavar="OUT.h5", help="Write the scores of every member.")
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Pairs a video in the submission.",
)
@click.option(
    "--cache-top-k",
    type=click.IntRange(min=1),
    metavar="K",
    help="Keep only the K highest scores a video and member in the cache; all by default.",
)
@click.option(
    "--shard",
    callback=options.parse_shard,
    metavar="I/N",
    help="Score share I of N (I from 0) of the record files; join with merge-predictions.",
)
@click.option(
    "--runner",
    type=click.Choice(["local", "beam"]),
    default="local",
    show_default=True,
    help="Score in this process, or on Apache Beam (pip install 'yt8m-ensemble[beam]').",
)
@click.option("--num-workers", type=click.IntRange(min=1), help="Processes, with --runner beam.")
@click.option(
    "--beam-option",
    "beam_options",
    multiple=True,
    metavar="OPTION",
    help="Passed to Beam's pipeline, e.g. --beam-option=--runner=FlinkRunner; repeatable.",
)
@click.option("--architecture", metavar="NAME", help="Overrides what the models' files say.")
@options.num_classes_option
@options.scoring_batch_size_option
@options.writes_output
def predict(*, models: tuple[str, ...], as_json: bool, **others: object) -> None:
    """Score records, once, with all models: a Kaggle CSV, a prediction cache, or both.

    An interrupted cache is continued where it stopped when the same command is given again.
    """
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.steps.predict import predict_scores

    with render.ProgressBar() as progress:
        result = predict_scores(models=models, progress=progress, **others)  # type: ignore[arg-type]
    text = f"{result.num_videos} videos, {len(result.members)} members: {', '.join(result.members)}"
    if result.num_resumed:
        text += f". Scores of {result.num_resumed} videos were there from an earlier run."
    render.emit(result, as_json=as_json, text=text)
