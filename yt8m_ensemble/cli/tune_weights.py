"""`yt8m-ens tune-weights`."""

from __future__ import annotations

import click

from yt8m_ensemble.cli import options

# Spelled out, since the table of tuners may not be loaded for `--help`; a test compares them.
METHODS = (
    "grid", "coordinate", "greedy", "nelder-mead", "powell", "slsqp", "differential-evolution",
    "temperature",
)  # fmt: skip


@click.command(
    "tune-weights",
    epilog=options.epilog(
        "yt8m-ens tune-weights --predictions val.h5 --out weights.json",
        "yt8m-ens tune-weights --predictions a.h5 --predictions b.h5 --method nelder-mead",
    ),
)
@click.option(
    "--predictions",
    multiple=True,
    required=True,
    metavar="H5",
    help="Cached predictions; repeat for members of the same videos in several files.",
)
@click.option(
    "--space",
    type=click.Choice(["auto", "probability", "logit", "geometric"]),
    default="auto",
    show_default=True,
    help="Where members are averaged; auto chooses on the videos tuned on.",
)
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="grid",
    show_default=True,
    help="Search method.",
)
@click.option(
    "--step", type=float, default=0.05, show_default=True, help="Resolution of the weights."
)
@click.option(
    "--holdout",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.5,
    show_default=True,
    help="Share of videos that is not tuned on, but judged on; 0 for none.",
)
@click.option(
    "--folds",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="Parts of the other videos, each judged under weights tuned on the rest; 0 for none.",
)
@click.option(
    "--bootstrap",
    type=click.IntRange(min=2),
    default=1000,
    show_default=True,
    help="Resamples behind every interval.",
)
@click.option(
    "--intersect", is_flag=True, help="Keep the videos that all files hold; else they must agree."
)
@click.option(
    "--per-class",
    is_flag=True,
    help="Also fit weights for each class, and take them if GAP out of fold rises.",
)
@click.option("--out", metavar="W.json", help="Mixture-weights file to write.")
@click.option("--plot", metavar="OUT.png", help="Draw GAP over the weights and the search.")
@options.seed_option
@options.writes_output
def tune_weights(*, as_json: bool, **others: object) -> None:
    """Choose mixture weights and the mixing space by exact GAP on cached predictions."""
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.steps.tune_weights import tune_weights as run

    with render.ProgressBar() as progress:
        done = run(progress=progress, **others)  # type: ignore[arg-type]
    result = done.result
    if result is None:
        render.emit(done, as_json=as_json, text=f"{len(done.members)} members can be tuned.")
        return
    weights = result.weights
    shares: list[tuple[str, ...]] = [
        (n, f"{v:.4f}") for n, v in zip(weights.names, weights.values, strict=True)
    ]
    heads: tuple[str, ...] = ("member", "weight")
    if weights.class_values:
        heads = (*heads, "of single classes")
        shares = [
            (*share, f"{min(row):.4f} … {max(row):.4f}")
            for share, row in zip(shares, weights.class_values, strict=True)
        ]
    tables = [render.Table(f"Mixture weights, {weights.space} space", heads, shares)]
    columns = ("mixture", "GAP", "tuned minus it", "95 % interval", "real")
    for judged in result.judgements:
        rows = [("tuned", f"{judged.gap:.5f}", "", f"± {judged.standard_error:.5f}", "")]
        rows += [
            (g.over, f"{g.gap:.5f}", f"{g.difference:+.5f}",
             f"{g.interval[0]:+.5f} … {g.interval[1]:+.5f}", "yes" if g.is_real else "no")
            for g in judged.gains
        ]  # fmt: skip
        title = f"{judged.num_videos} videos {judged.name}"
        tables.append(render.Table(title, columns, rows))
    lines = [f"GAP in sample {result.gap_in_sample:.5f}, {result.num_evaluations} mixtures scored."]
    if result.optimism is not None:
        lines.append(f"Optimism (in sample minus out of fold): {result.optimism:+.5f}.")
    lines += [judged.verdict for judged in result.judgements]
    lines += ["The search was interrupted; this is the best so far."] * result.was_interrupted
    lines += [done.certificate.sentence] if done.certificate else []
    lines += [f"Wrote '{done.path}'."] * bool(done.path)
    render.emit(done, as_json=as_json, tables=tables, text="\n".join(lines))
