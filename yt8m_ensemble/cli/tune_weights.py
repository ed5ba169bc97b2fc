"""`yt8m-ens tune-weights`."""

from __future__ import annotations

from yt8m_ensemble.cli.options import Given, command


@command(
    "tune-weights",
    "TuneOptions",
    dry_run=True,
    examples=(
        "yt8m-ens tune-weights --predictions val.h5 --out weights.json",
        "yt8m-ens tune-weights --predictions a.h5 --predictions b.h5 --method nelder-mead",
    ),
)
def tune_weights(given: Given) -> None:
    """Choose mixture weights and the mixing space by exact GAP on cached predictions."""
    from yt8m_ensemble.cli.render import Table
    from yt8m_ensemble.steps import tune_weights as steps
    from yt8m_ensemble.tuning import describe_overlap

    if given.dry_run:
        planned = given.run(steps.plan_tune_weights)
        text = f"{len(planned.members)} members can be tuned."
        given.emit(planned, text="\n".join(filter(None, (text, planned.merge_obstacle))))
        return
    done = given.run(steps.tune_weights)
    result = done.result
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
    tables = [Table(f"Mixture weights, {weights.space} space", heads, shares)]
    columns = ("mixture", "GAP", "gain over it", "95 % interval", "real")
    for judged in result.judgements:
        rows = [(judged.mixture, f"{judged.gap:.5f}", "", f"± {judged.standard_error:.5f}", "")]
        rows += [
            (g.over, f"{g.gap:.5f}", f"{g.difference:+.5f}",
             f"{g.interval[0]:+.5f} … {g.interval[1]:+.5f}", "yes" if g.is_real else "no")
            for g in judged.gains
        ]  # fmt: skip
        title = f"{judged.num_videos} videos {judged.name}"
        tables.append(Table(title, columns, rows))
    lines = [f"GAP in sample {result.gap_in_sample:.5f}, {result.num_evaluations} mixtures scored."]
    if result.optimism is not None:
        lines.append(f"Optimism (in sample minus out of fold): {result.optimism:+.5f}.")
    lines += [f"Member '{name}' got weight 0: {why}" for name, why in result.dropped.items()]
    lines.append(result.choice)
    lines += [judged.verdict for judged in result.judgements]
    lines += ["The search was interrupted; this is the best so far."] * result.was_interrupted
    lines += [done.certificate.sentence] if done.certificate else []
    lines += [done.calibration.sentence] if done.calibration else []
    if done.num_trained_on:
        lines.append(describe_overlap(done.num_trained_on))
    if done.thresholds:
        given_to = sum(value is not None for value in done.thresholds.values)
        lines.append(f"{given_to} of {len(done.thresholds.values)} classes have a threshold.")
        lines += [labelling.sentence for labelling in done.thresholds.labellings]
    lines += [done.merge_obstacle] if done.merge_obstacle else []
    lines += [f"Wrote '{done.path}'."] * bool(done.path)
    given.emit(done, tables=tables, text="\n".join(lines))
