"""`yt8m-ens synth`."""

from __future__ import annotations

from yt8m_ensemble.cli.options import Given, command


@command(
    "synth",
    "SynthOptions",
    dry_run=True,
    old_flags={"classes": ["--num-classes"]},
    examples=(
        "yt8m-ens synth --videos 6000 --classes 60 --feature-sizes 64,16 --seed 1 --out data/train",
        "yt8m-ens synth --videos 1000 --classes 60 --level frame --seed 2 --out data/validate",
        "yt8m-ens synth --from-video-level 'yt8m/train*.tfrecord' --level frame --out data/frames",
    ),
)
def synth(given: Given) -> None:
    """Write YouTube-8M-shaped records with labels that can be learned from their features.

    Splits that differ in `--seed` only show the same classes. With `--from-video-level`, real
    videos are expanded into quantized frames that vary around each video's mean and average to it.
    """
    from yt8m_ensemble.cli.render import Table
    from yt8m_ensemble.steps.synth import plan_synthesize, synthesize

    report = given.run(plan_synthesize if given.dry_run else synthesize)
    features = ", ".join(map("{} ({})".format, report.feature_names, report.feature_sizes))
    table = Table(
        f"{'Would write' if given.dry_run else 'Wrote'} {report.level}-level records",
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
    given.emit(report, tables=[table], text=f"{report.out}/*.tfrecord")
