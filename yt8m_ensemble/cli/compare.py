"""`yt8m-ens compare`."""

from __future__ import annotations

from yt8m_ensemble.cli.options import Given, command


@command(
    "compare",
    "CompareOptions",
    examples=[
        "yt8m-ens compare --predictions val.h5 --weights weights.json --plot compare.png",
        "yt8m-ens compare --predictions val.h5 --vocabulary vocabulary.csv",
        "yt8m-ens compare float32.h5 uint8.h5 --margin 0.0005",
    ],
)
def compare(given: Given) -> None:
    """Show how members differ, and the videos where their mixture is right or wrong instead.

    Of two caches without `--predictions`, test whether members of one name score alike.
    """
    from yt8m_ensemble.cli.render import Table
    from yt8m_ensemble.steps.compare import compare_predictions

    result = given.run(compare_predictions)
    if result.comparison is None:
        given.emit(
            result, text="\n".join(f"{k}: {e.sentence}." for k, e in result.equivalence.items())
        )
        return
    found = result.comparison
    pairs = [
        (" / ".join(p.members), f"{p.correlation:.3f}", f"{p.disagreement:.3f}",
         f"{p.only_first:.3f}", f"{p.only_second:.3f}", f"{p.q:.3f}")
        for p in found.pairs
    ]  # fmt: skip
    bands = [
        (f"{b.low} … {b.high}", str(b.num_classes), *(f"{gap:.4f}" for gap in b.gaps.values()))
        for b in found.bands
    ]
    classes = [
        (f"{c.class_id} {c.name}".rstrip(), str(c.num_positives), f"{c.best_single:.4f}",
         f"{c.mixture:.4f}")
        for c in found.classes
    ]  # fmt: skip
    truncated = ""
    if result.gap_interval:
        low, high = result.gap_interval
        truncated = (
            "\nThe predictions keep a top K only, so these are estimates; with all scores the "
            f"mixture's GAP lies between {low:.5f} and {high:.5f}."
        )
    given.emit(
        result,
        tables=[
            Table("GAP", tuple(found.gaps), [[f"{g:.5f}" for g in found.gaps.values()]]),
            Table(
                "Pairs",
                ("members", "correlation", "differ", "first right", "second right", "Q"),
                pairs,
            ),
            Table("GAP by positives of a class", ("positives", "classes", *found.gaps), bands),
            Table(
                "Classes that changed most",
                ("class", "positives", found.best_single, "mixture"),
                classes,
            ),
        ],
        text=(
            f"Of {found.num_videos} videos the mixture puts a positive on top in "
            f"{len(found.fixed)} where {found.best_single} does not, and loses "
            f"{len(found.broken)}; `--json` lists them.{truncated}"
        ),
    )
