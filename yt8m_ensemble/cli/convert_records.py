"""`yt8m-ens convert predictions|features|records`."""

from __future__ import annotations

import click

from yt8m_ensemble.cli import options

_classes_option = click.option(
    "--num-classes",
    type=click.IntRange(min=1),
    default=3862,
    show_default=True,
    help="Size of the vocabulary.",
)


@click.command(
    "predictions",
    epilog=options.epilog("yt8m-ens convert predictions 'out/prediction.results*' submission.csv"),
)
@click.argument("predictions", metavar="SOURCE")
@click.argument("out")
@click.option(
    "--top-k", type=click.IntRange(min=1), default=20, show_default=True, help="Pairs a row."
)
@options.writes_output
def convert_predictions(as_json: bool, **chosen: object) -> None:
    """Turn SOURCE, JSON lines of a Google Cloud batch prediction, into the submission CSV OUT."""
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.steps import convert_records as steps

    with render.ProgressBar() as progress:
        done = steps.convert_predictions(progress=progress, **chosen)  # type: ignore[arg-type]
    render.emit(done, as_json=as_json, text=f"{done.videos:,} videos in {done.out}")


@click.command(
    "features",
    epilog=options.epilog(
        "yt8m-ens convert features own.npz records",
        "yt8m-ens convert features 'mediapipe/*.pb' records --labels labels.csv",
    ),
)
@click.argument("features", metavar="SOURCE")
@click.argument("out")
@click.option("--labels", metavar="CSV", help="Lines VIDEO_ID,LABEL1 LABEL2, in place of theirs.")
@_classes_option
@click.option("--prefix", default="own", show_default=True, help="Start of the file names.")
@options.writes_output
def convert_features(as_json: bool, **chosen: object) -> None:
    """Turn features of your own into a directory OUT of records, frames quantised to bytes.

    SOURCE is a glob of .npz, .parquet, or MediaPipe's .pb or .tfrecord files.
    """
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.steps import convert_records as steps

    with render.ProgressBar() as progress:
        done = steps.convert_features(progress=progress, **chosen)  # type: ignore[arg-type]
    text = (
        f"{done.videos:,} {done.level}-level videos in {done.out}; "
        f"{done.clipped_values:,} values clipped, {done.cut_frames:,} frames cut"
    )
    render.emit(done, as_json=as_json, text=text)


@click.command(
    "records",
    epilog=options.epilog("yt8m-ens convert records 'yt8m/validate*.tfrecord' validate.npz"),
)
@click.argument("records", metavar="SOURCE")
@click.argument("out")
@click.option(
    "--feature-names",
    callback=options.split_commas,
    metavar="A,B,…",
    help="Features to keep.  [default: all]",
)
@_classes_option
@options.writes_output
def convert_records(as_json: bool, **chosen: object) -> None:
    """Turn records that match SOURCE into one npz OUT of ids, labels and features."""
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.steps import convert_records as steps

    with render.ProgressBar() as progress:
        done = steps.convert_records(progress=progress, **chosen)  # type: ignore[arg-type]
    render.emit(
        done, as_json=as_json, text=f"{done.videos:,} {done.level}-level videos in {done.out}"
    )
