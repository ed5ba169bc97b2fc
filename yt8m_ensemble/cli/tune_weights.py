"""`yt8m-ens tune-weights`."""

from __future__ import annotations

import click

from yt8m_ensemble.cli import options


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
@click.option("--method", default="grid", show_default=True, help="Search method.")
@click.option(
    "--step", type=float, default=0.05, show_default=True, help="Resolution of the weights."
)
@click.option(
    "--holdout",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="Share of videos that is not tuned on, but judged on.",
)
@click.option("--out", metavar="W.json", help="Mixture-weights file to write.")
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
    shares = zip(weights.names, weights.values, strict=True)
    gains = [
        (g.over, f"{g.gap_in_sample:.5f}", f"{g.gap_held_out:.5f}", f"{g.difference:+.5f}",
         f"{g.interval[0]:+.5f} … {g.interval[1]:+.5f}", "yes" if g.is_real else "no")
        for g in result.gains
    ]  # fmt: skip
    tuned = (f"tuned ({weights.space})", f"{result.gap_in_sample:.5f}",
             f"{result.gap_held_out:.5f}", "", f"± {result.standard_error:.5f}", "")  # fmt: skip
    render.emit(
        done,
        as_json=as_json,
        tables=[
            render.Table(
                "Mixture weights", ("member", "weight"), [(n, f"{v:.4f}") for n, v in shares]
            ),
            render.Table(
                "GAP",
                ("mixture", "tuned on", "held out", "tuned gains", "95 % interval", "real"),
                [tuned, *gains],
            ),
        ],
        text=f"Wrote '{done.path}'." if done.path else "",
    )
