"""`yt8m-ens synth`."""

from __future__ import annotations

import click

from yt8m_ensemble.cli import options


def _parse_sizes(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, ...]:
    parts = options.split_commas(context, parameter, value)
    if not all(part.isdecimal() and int(part) for part in parts):
        msg = f"'{value}' is not a list of sizes such as 1024,128."
        raise click.BadParameter(msg)
    return tuple(map(int, parts))


@click.command(
    epilog=options.epilog(
        "yt8m-ens synth --videos 6000 --classes 60 --feature-sizes 64,16 --seed 1 --out data/train",
        "yt8m-ens synth --videos 1000 --classes 60 --level frame --seed 2 --out data/validate",
        "yt8m-ens synth --from-video-level 'yt8m/train*.tfrecord' --level frame --out data/frames",
    )
)
@click.option("--videos", type=click.IntRange(min=1), help="Videos to write.")
@click.option(
    "--classes",
    "--num-classes",
    "classes",
    type=click.IntRange(min=1),
    default=3862,
    show_default=True,
    help="Size of the vocabulary.",
)
@click.option(
    "--shards",
    type=click.IntRange(min=1),
    help="Files to write, or source files to expand.  [default: one per 500 videos; all]",
)
@click.option(
    "--level",
    type=click.Choice(["video", "frame"]),
    default="video",
    show_default=True,
    help="One mean vector a video, or one vector a second.",
)
@click.option(
    "--from-video-level", metavar="GLOB", help="Expand these video-level records into frames."
)
@click.option(
    "--feature-names",
    default="rgb,audio",
    show_default=True,
    callback=options.split_commas,
    help="Names at frame level; means get the prefix mean_.",
)
@click.option(
    "--feature-sizes",
    metavar="A,B,…",
    callback=_parse_sizes,
    help="Values of each feature.  [default: 1024,128, or the source's]",
)
@click.option(
    "--frames",
    nargs=2,
    type=click.IntRange(min=1),
    default=(60, 300),
    show_default=True,
    help="Least and greatest number of frames.",
)
@click.option(
    "--prefix", help="Start of the file names.  [default: train, or as the source's files]"
)
@click.option(
    "--world-seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of what classes look like; the same for all splits.",
)
@options.seed_option
@click.option("--out", required=True, type=click.Path(), help="Directory to make.")
@options.writes_output
def synth(as_json: bool, **chosen: object) -> None:
    """Write YouTube-8M-shaped records with labels that can be learned from their features.

    Train, validation and test splits come from one world when they differ in --seed only. With
    --from-video-level, real videos are expanded into quantised frames that wander around each
    video's mean and average to it.
    """
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.steps.synth import synthesize

    with render.ProgressBar() as progress:
        report = synthesize(progress=progress, **chosen)  # type: ignore[arg-type]  # click checked
    features = ", ".join(map("{} ({})".format, report.feature_names, report.feature_sizes))
    table = render.Table(
        f"{'Would write' if report.dry_run else 'Wrote'} {report.level}-level records",
        ["files", "videos", "classes", "labels", "features", "values clamped"],
        [
            [
                f"{len(report.files):,}",
                f"{report.videos:,}",
                f"{report.num_classes:,}",
                f"{report.num_labels:,}",
                features,
                f"{report.clamped_values:,}",
            ]
        ],
    )
    render.emit(report, as_json=as_json, tables=[table], text=f"{report.out}/*.tfrecord")
