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
    epilog=options.epilog(
        "yt8m-ens convert predictions --predictions 'out/prediction.results*' --out submission.csv"
    ),
)
@click.option(
    "--predictions", required=True, metavar="GLOB", help="JSON lines of a Cloud batch prediction."
)
@click.option("--out", required=True, metavar="CSV", help="Submission to write.")
@click.option(
    "--top-k", type=click.IntRange(min=1), default=20, show_default=True, help="Pairs a row."
)
@options.writes_output
def convert_predictions(as_json: bool, **chosen: object) -> None:
    """Turn the JSON of a Google Cloud batch prediction into a submission CSV."""
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.steps import convert_records as steps

    with render.ProgressBar() as progress:
        done = steps.convert_predictions(progress=progress, **chosen)  # type: ignore[arg-type]
    render.emit(done, as_json=as_json, text=f"{done.videos:,} videos in {done.out}")


@click.command(
    "features",
    epilog=options.epilog(
        "yt8m-ens convert features --features own.npz --out records",
        "yt8m-ens convert features --features 'mediapipe/*.pb' --labels labels.csv --out records",
    ),
)
@click.option(
    "--features",
    required=True,
    metavar="GLOB",
    help="Files of .npz, .parquet, or MediaPipe's .pb or .tfrecord.",
)
@click.option("--labels", metavar="CSV", help="Lines VIDEO_ID,LABEL1 LABEL2, in place of theirs.")
@_classes_option
@click.option("--prefix", default="own", show_default=True, help="Start of the file names.")
@click.option("--out", required=True, metavar="DIR", help="Directory of records to make.")
@options.writes_output
def convert_features(as_json: bool, **chosen: object) -> None:
    """Turn features of your own into records of either level, frames quantised to bytes."""
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
    epilog=options.epilog(
        "yt8m-ens convert records --records 'yt8m/validate*.tfrecord' --out validate.npz"
    ),
)
@click.option("--records", required=True, metavar="GLOB", help="Records of either level.")
@click.option(
    "--feature-names",
    callback=options.split_commas,
    metavar="A,B,…",
    help="Features to keep.  [default: all]",
)
@_classes_option
@click.option("--out", required=True, metavar="NPZ", help="File to write.")
@options.writes_output
def convert_records(as_json: bool, **chosen: object) -> None:
    """Turn records into one npz of ids, labels and features."""
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.steps import convert_records as steps

    with render.ProgressBar() as progress:
        done = steps.convert_records(progress=progress, **chosen)  # type: ignore[arg-type]
    render.emit(
        done, as_json=as_json, text=f"{done.videos:,} {done.level}-level videos in {done.out}"
    )
