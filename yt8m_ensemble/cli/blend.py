"""`yt8m-ens blend`."""

from __future__ import annotations

from yt8m_ensemble.cli.options import Given, command


@command(
    "blend",
    "BlendOptions",
    dry_run=True,
    examples=(
        "yt8m-ens blend --scores a=a.csv --scores b=b.csv --weights 0.6,0.4 --csv blend.csv",
        "yt8m-ens blend --scores test.h5 --weights weights.json --csv submission.csv",
    ),
)
def blend(given: Given) -> None:
    """Mix scores of any origin into a Kaggle submission; no model is needed.

    A cache brings all its members, or the one named. A class that a list leaves out counts as half
    of the lowest score listed of that video.
    """
    from yt8m_ensemble.steps import blend as steps

    result = given.run(steps.plan_blend_scores if given.dry_run else steps.blend_scores)
    mixture = ", ".join(
        f"{name} {weight:.4g}" for name, weight in zip(result.members, result.weights, strict=True)
    )
    given.emit(
        result,
        text=f"{result.num_videos:,} videos in {result.csv}: {mixture}, {result.space} space.",
    )
