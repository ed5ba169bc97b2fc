"""Everything a report says of one ensemble, as values: its JSON is these classes.

What is absent is `None` or empty; `panels` names the command that makes it.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from yt8m_ensemble import __version__, files
from yt8m_ensemble.checkpoints import find_steps, open_checkpoint
from yt8m_ensemble.constants import FLAGS_FILE, INFERENCE_MODEL
from yt8m_ensemble.packaging import extract_bundle, list_bundle, member_of
from yt8m_ensemble.provenance import read_provenance
from yt8m_ensemble.reporting.events import read_scalars
from yt8m_ensemble.reporting.judging import Judged, has_labels, judge_sources, scored_members
from yt8m_ensemble.scratch import scratch_directory
from yt8m_ensemble.tuning.diversity import MIXTURE
from yt8m_ensemble.values import MixtureWeights, parse_flags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yt8m_ensemble.reporting.sources import Sources
    from yt8m_ensemble.reporting.stored import StoredCheck

FORMAT = 1
SHARED = "shared"
_STEP = re.compile(r"-(\d+)$")


@dataclass(frozen=True)
class Verdict:
    """What is proven, in one sentence.

    Args:
        sentence: The sentence.
        gap: GAP of the last step that was scored.
        over: What it is compared with; `None` of a single model.
        difference: Its gain over that.
        interval95: Paired interval of the gain; of a single model, interval of its GAP.
    """

    sentence: str
    gap: float | None = None
    over: str | None = None
    difference: float | None = None
    interval95: tuple[float, float] | None = None


@dataclass(frozen=True)
class Member:
    """One member.

    Args:
        name: Its name.
        weight: In the mixture.
        averaged: Global steps of the checkpoints that were averaged.
        gaps: GAP by column: `last`, `averaged` or `float32`, `bundle`.
        size_bytes: Of its weights in the inference model.
        train_s: Seconds that training took.
        loss: Training loss by global step.
        checkpoint_gaps: GAP of its checkpoints by global step.
        checkpoints: Global steps of the checkpoints in its train directory.
    """

    name: str
    weight: float | None
    averaged: tuple[int, ...]
    gaps: Mapping[str, float]
    size_bytes: int | None
    train_s: float | None
    loss: tuple[tuple[int, float], ...]
    checkpoint_gaps: Mapping[int, float]
    checkpoints: tuple[int, ...]


@dataclass(frozen=True)
class Sizes:
    """Who takes which part of the byte budget.

    Args:
        members: Bytes of weights by member, and of what they share.
        float32_bytes: The same weights in float32.
        archive_bytes: The archive as it is handed in.
        unpacked_bytes: Its files, which the rules of 2018 limit.
        frontier: What `select` found: sets by rising size; empty if it did not choose.
    """

    members: Mapping[str, int]
    float32_bytes: int
    archive_bytes: int | None
    unpacked_bytes: int | None
    frontier: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class RecipeContent:
    """Where it all came from.

    Args:
        path: The recipe; empty for loose files.
        text: Its text.
        overrides: What `--set` replaced.
        steps: By step, seconds and the time when it was done.
        digests: By artifact, its digest.
    """

    path: str
    text: str
    overrides: Mapping[str, str]
    steps: Mapping[str, tuple[float | None, str | None]]
    digests: Mapping[str, str]


@dataclass(frozen=True)
class Content:
    """What is reported of one ensemble.

    Args:
        name: The ensemble.
        verdict: One sentence.
        members: Its members.
        weights: The mixture as its file has it; `None` without one.
        judged: What the caches say; `None` without labeled scores.
        sizes: Bytes; `None` without an inference model.
        checks: Checks of the archive; `None` if no record of them is there.
        recipe: Where it came from.
        is_labeled: Whether the scores carry labels; `None` without scores.
    """

    name: str
    verdict: Verdict
    members: tuple[Member, ...]
    weights: MixtureWeights | None
    judged: Judged | None
    sizes: Sizes | None
    checks: tuple[StoredCheck, ...] | None
    recipe: RecipeContent
    is_labeled: bool | None


def versions() -> dict[str, str]:
    """Return the versions that a report was made with."""
    return {"yt8m_ensemble": __version__, "python": platform.python_version()}


def gather(sources: Sources, *, margin: float, seed: int = 0) -> Content:
    """Compute the report of one ensemble from the files that are there.

    Args:
        sources: The files.
        margin: Difference of GAP that counts as none.
        seed: Seed of the bootstrap.

    Returns:
        The content.
    """
    labeled = has_labels(sources.scores) if sources.scores else None
    weights = None
    if sources.weights:
        text = files.read_text(sources.weights)
        weights = MixtureWeights.parse(text, path=sources.weights)
        members = scored_members(sources.scores)
        if sources.run and members and not set(weights.names) <= members:
            # The run was stopped between scoring other members and tuning them.
            sources, weights = replace(sources, weights=None), None
    judged = judge_sources(sources, margin=margin, seed=seed) if labeled else None
    mixture = judged.weights if judged else weights
    names = mixture.names if mixture else tuple(sources.train_dirs)
    sizes = _sizes(sources, weights)
    verify = sources.steps.get("verify")
    checks = verify.result.checks if verify and verify.result.checks else None
    return Content(
        name=sources.name,
        verdict=_verdict(judged, checks, was_verified=bool(verify and verify.outputs is not None)),
        members=tuple(_member(name, sources, judged, mixture, sizes) for name in names),
        weights=weights,
        judged=judged,
        sizes=sizes,
        checks=checks,
        recipe=_recipe(sources),
        is_labeled=labeled,
    )


def _verdict(
    judged: Judged | None, checks: tuple[StoredCheck, ...] | None, *, was_verified: bool
) -> Verdict:
    proof = "It was not verified."
    if was_verified:  # by a toolkit that did not store the checks
        proof = "The archive was verified when it was made."
    if checks is not None:
        failed = [check.name for check in checks if not check.is_ok]
        proof = f"The archive passed all {len(checks)} checks."
        if failed:
            proof = f"The archive failed {len(failed)} of {len(checks)} checks."
    if judged is None:
        return Verdict(f"Nothing was judged: there are no labeled scores. {proof}")
    last = judged.steps[-1]
    videos = f"{judged.num_videos:,} videos" + (
        " that nothing was tuned on" if judged.videos == "held out" else ""
    )
    if judged.over_single is None:
        low, high = judged.steps[0].interval95
        return Verdict(
            f"GAP {last.gap:.5f} on {videos}, 95 % interval [{low:.5f}, {high:.5f}]. {proof}",
            last.gap,
            interval95=(low, high),
        )
    difference, (low, high) = judged.over_single
    best = judged.comparison.best_single
    claim = "beats" if low > 0 else "loses to" if high < 0 else "cannot be told from"
    return Verdict(
        f"With GAP {last.gap:.5f} on {videos}, the mixture {claim} the best single model, {best}: "
        f"{difference:+.5f}, paired 95 % interval [{low:+.5f}, {high:+.5f}]. {proof}",
        last.gap,
        best,
        difference,
        (low, high),
    )


def _member(
    name: str,
    sources: Sources,
    judged: Judged | None,
    mixture: MixtureWeights | None,
    sizes: Sizes | None,
) -> Member:
    averaged: tuple[int, ...] = ()
    if name in sources.averages:
        inputs = read_provenance(sources.averages[name]).inputs
        found = [_STEP.search(path) for path in inputs]
        averaged = tuple(sorted(int(match[1]) for match in found if match))
    train = sources.steps.get(f"train/{name}")
    directory = sources.train_dirs.get(name)
    return Member(
        name=name,
        weight=mixture.values[mixture.names.index(name)] if mixture else None,
        averaged=averaged,
        gaps={k: gaps[name] for k, gaps in judged.gaps.items()} if judged else {},
        size_bytes=sizes.members.get(name) if sizes else None,
        train_s=train.result.train_s if train else None,
        loss=_loss(directory) if directory else (),
        checkpoint_gaps=train.result.gaps if train else {},
        checkpoints=tuple(find_steps(directory)) if directory else (),
    )


def _loss(directory: str) -> tuple[tuple[int, float], ...]:
    scalars = read_scalars(directory)
    # The first is ours, the second what the starter code calls it.
    return tuple(scalars.get("label_loss") or scalars.get("loss") or ())


def _sizes(sources: Sources, weights: MixtureWeights | None) -> Sizes | None:
    frontier = tuple(weights.details.get("frontier", ())) if weights else ()
    archive, unpacked = None, None
    if sources.bundle:
        archive, unpacked = files.size(sources.bundle), list_bundle(sources.bundle).nbytes
    if sources.model:
        members, wide = _member_bytes(sources.model)
    elif sources.bundle:
        with scratch_directory() as directory:
            extract_bundle(sources.bundle, directory)
            members, wide = _member_bytes(directory)
    else:
        return None
    return Sizes(members, wide, archive, unpacked, frontier)


def _member_bytes(model: str) -> tuple[dict[str, int], int]:
    """Return the bytes of each member's weights, and of all in float32."""
    path = f"{model}/{FLAGS_FILE}"
    flags = parse_flags(files.read_bytes(path), path=path)
    names, naming = tuple(flags.get("members", ())), flags.get("naming")
    found = dict.fromkeys([*names, SHARED], 0)
    with open_checkpoint(f"{model}/{INFERENCE_MODEL}") as opened:
        specs = opened.specs()
    for name, spec in specs.items():
        owner = member_of(name, names, naming=naming) if names else None
        found[owner or SHARED] += spec.nbytes
    return found, sum(spec.size * 4 for spec in specs.values())


def _recipe(sources: Sources) -> RecipeContent:
    run = sources.run
    digests = dict(read_provenance(sources.model).inputs) if sources.model else {}
    in_order = sorted(sources.steps.items(), key=lambda pair: pair[1].finished or "")
    for step in sources.steps.values():
        for path, digest in (step.outputs or {}).items():
            if path in {*sources.scores, sources.stored, sources.weights, sources.bundle}:
                digests[path] = digest
    if sources.bundle and sources.bundle not in digests:
        digests[sources.bundle] = files.sha256(sources.bundle)
    return RecipeContent(
        path=run.recipe if run else "",
        text=run.text if run else "",
        overrides=run.overrides if run else {},
        steps={
            name: (step.elapsed_s, step.finished)
            for name, step in in_order
            if step.outputs is not None
        },
        digests=digests,
    )


def as_json(contents: tuple[Content, ...]) -> dict[str, Any]:
    """Return the report as JSON-able values; what is of one ensemble stands under its name."""

    def by_name(pick: Any) -> dict[str, Any]:
        return {content.name: pick(content) for content in contents}

    def mixture(content: Content) -> Any:
        weights = content.weights
        if weights is None:
            return None
        return {
            "members": weights.names,
            "weights": weights.values,
            "space": weights.space,
            "has_class_bias": bool(weights.class_bias),
            "temperature": weights.temperature,
            **{k: v for k, v in weights.details.items() if k not in {"predictions", "frontier"}},
        }

    def videos(content: Content) -> Any:
        judged = content.judged
        if judged is None:
            return None
        return {
            "judged": judged.videos,
            "num_videos": judged.num_videos,
            "mixture_gaps": {name: gaps[MIXTURE] for name, gaps in judged.gaps.items()},
            "comparison": judged.comparison,
            "reliability": judged.reliability,
        }

    return {
        "format": FORMAT,
        "verdict": by_name(lambda content: content.verdict),
        "members": by_name(lambda content: content.members),
        "mixture": by_name(mixture),
        "steps": by_name(lambda content: content.judged.steps if content.judged else None),
        "sizes": by_name(lambda content: content.sizes),
        "checks": by_name(lambda content: _plain(content.checks)),
        "videos": by_name(videos),
        "recipe": by_name(lambda content: content.recipe),
        "versions": versions(),
    }


def _plain(checks: tuple[StoredCheck, ...] | None) -> list[dict[str, Any]] | None:
    if checks is None:
        return None
    return [{"name": c.name, "is_ok": c.is_ok, "detail": c.detail} for c in checks]
