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
    )
    given.emit(done, text=text)


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
    given.emit(done, text=f"{done.videos:,} {done.level}-level videos in {done.out}")


for subcommand in (features, predictions, records, checkpoint):
    convert.add_command(subcommand)
