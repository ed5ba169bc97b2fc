"""`yt8m-ens convert`: one subcommand for each kind of file."""

from __future__ import annotations

import click

from yt8m_ensemble.cli.options import Given, command


@click.group()
def convert() -> None:
    """Convert weights, predictions or records between formats."""


@command(
    "checkpoint",
    "ConvertOptions",
    dry_run=True,
    examples=(
        "yt8m-ens convert checkpoint runs/avg/moe2 moe2.safetensors",
        "yt8m-ens convert checkpoint moe2.weights.h5 runs/moe2/model.ckpt-1",
    ),
)
def checkpoint(given: Given) -> None:
    """Convert SOURCE to OUT: checkpoint prefix, .safetensors or Keras .weights.h5.

    The names' endings tell the formats. Every tensor, dtype and string comes back bit for bit.
    """
    from yt8m_ensemble.cli.render import format_bytes
    from yt8m_ensemble.steps.convert_checkpoint import (
        convert_checkpoint,
        plan_convert_checkpoint,
    )

    result = given.run(plan_convert_checkpoint if given.dry_run else convert_checkpoint)
    text = f"{result.num_tensors} tensors, {format_bytes(result.nbytes)}: {result.out}"
    given.emit(result, text=text)


@command(
    "predictions",
    "ConvertPredictionsOptions",
    dry_run=True,
    examples=["yt8m-ens convert predictions 'out/prediction.results*' submission.csv"],
)
def predictions(given: Given) -> None:
    """Turn SOURCE, JSON lines of a Google Cloud batch prediction, into the submission CSV OUT."""
    from yt8m_ensemble.steps import convert_records as steps

    run = steps.plan_convert_predictions if given.dry_run else steps.convert_predictions
    done = given.run(run)
    given.emit(done, text=f"{done.videos:,} videos in {done.out}")


@command(
    "features",
    "ConvertFeaturesOptions",
    dry_run=True,
    examples=(
        "yt8m-ens convert features own.npz records",
        "yt8m-ens convert features 'mediapipe/*.pb' records --labels labels.csv",
    ),
)
def features(given: Given) -> None:
    """Turn features of your own into a directory OUT of records, frames quantized to bytes.

    SOURCE is a glob of .npz, .parquet, or MediaPipe's .pb or .tfrecord files.
    """
    from yt8m_ensemble.steps import convert_records as steps

    run = steps.plan_convert_features if given.dry_run else steps.convert_features
    done = given.run(run)
    text = (
        f"{done.videos:,} {done.level}-level videos in {done.out}; "
        f"{done.clipped_values:,} values clipped, {done.cut_frames:,} frames cut"
        f"{f', scaled by {done.scale:g}' if done.scale != 1 else ''}"
    )
    given.emit(done, text="\n".join((text, *done.warnings)))


@command(
    "records",
    "ConvertRecordsOptions",
    dry_run=True,
    examples=["yt8m-ens convert records 'yt8m/validate*.tfrecord' validate.npz"],
)
def records(given: Given) -> None:
    """Turn records that match SOURCE into one npz OUT of ids, labels and features."""
    from yt8m_ensemble.steps import convert_records as steps

    run = steps.plan_convert_records if given.dry_run else steps.convert_records
    done = given.run(run)
    text = f"{done.videos:,} {done.level}-level videos in {done.out}"
    given.emit(done, text="\n".join((text, *done.warnings)))


@command(
    "scores",
    "ConvertScoresOptions",
    dry_run=True,
    examples=(
        "yt8m-ens convert scores a=a.csv b=b.csv val.h5 --labels 'yt8m/validate*.tfrecord'",
        "yt8m-ens convert scores torch=own.npz val.h5 --labels labels.csv --num-classes 3862",
    ),
)
def scores(given: Given) -> None:
    """Turn scores of any origin into a prediction cache, as `predict --cache` writes it.

    NAME=FILE is a Kaggle CSV, a .npz or .parquet of `video_ids` and `scores`, or a cache. Videos
    come in the order of the labels.
    """
    from yt8m_ensemble.steps.convert_scores import convert_scores, plan_convert_scores

    done = given.run(plan_convert_scores if given.dry_run else convert_scores)
    kept = f"the top {done.top_k} of" if done.top_k else "all"
    labels = "no labels" if done.num_positives is None else f"{done.num_positives:,} labels"
    text = (
        f"{done.num_videos:,} videos with {labels} in {done.out}: of {', '.join(done.members)} "
        f"{kept} {done.num_classes:,} classes."
    )
    given.emit(done, text=text)


for subcommand in (features, predictions, records, scores, checkpoint):
    convert.add_command(subcommand)
