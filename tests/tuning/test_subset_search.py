"""Branch and bound against every set scored: 200 generated instances, and some larger ones."""

import itertools
import math

import numpy as np
import pytest

from tests.builders.predictions import blocks
from yt8m_ensemble.tuning import Scorer, collect_candidates, subset_search
from yt8m_ensemble.tuning.subset_search import Limits, search_subsets
from yt8m_ensemble.tuning.variants import Variant

PRECISIONS = ("float32", "float16", "uint8", "uint4")
LOSSES = (0, 1e-3, 0.05, 0.5)
NUM_INSTANCES = 200


def make_instance(rng, num_members, num_precisions, num_videos, top_k=20):
    """Members of unlike skill, scale and size, in precisions that lose more and more."""
    labels = rng.random((num_videos, 30)) < 0.1
    shared = 4 * labels - 3 + rng.standard_normal(labels.shape)
    columns: list[np.ndarray] = []
    variants = []
    for member in range(num_members):
        noise = rng.uniform(0.3, 2) * rng.standard_normal(labels.shape)
        logits = rng.uniform(0.5, 1.5) * (shared + noise) + rng.standard_normal()
        size = int(rng.integers(8, 80))
        for place in range(num_precisions):
            own = logits + LOSSES[place] * rng.standard_normal(labels.shape)
            name = f"{'ab'[member % 2]}-{member}"
            variants.append(Variant(name, PRECISIONS[place], size >> place, len(columns), True))
            columns.append((1 / (1 + np.exp(-own))).astype(np.float32))
    names = [variant.name for variant in variants]
    given = blocks(np.stack(columns), labels)
    return collect_candidates(given, names=names, top_k=top_k), variants


def enumerate_sets(candidates, variants, space, limits):
    """GAP of every allowed set, each scored as any mixture is."""
    scorer = Scorer(candidates, space)
    members = dict.fromkeys(variant.member for variant in variants)
    options = [[None, *(v for v in variants if v.member == member)] for member in members]
    for chosen in itertools.product(*options):
        taken = [variant for variant in chosen if variant]
        families = [variant.member[0] for variant in taken]
        over = limits.max_per_family and any(
            families.count(family) > limits.max_per_family for family in families
        )
        if taken and not over and sum(v.size_bytes for v in taken) <= limits.max_bytes:
            weights = np.zeros(len(variants))
            weights[[variant.column for variant in taken]] = 1 / len(taken)
            yield frozenset(taken), scorer.gap(weights)


def check_against_all_sets(rng, shape, num_videos):
    num_members, num_precisions = shape
    candidates, variants = make_instance(rng, num_members, num_precisions, num_videos)
    smallest = min(variant.size_bytes for variant in variants)
    total = sum(variant.size_bytes for variant in variants) / num_precisions
    limits = Limits(smallest + rng.random() * total, rng.choice([None, 1, 2]))
    space = rng.choice(["probability", "logit", "geometric"])
    found = search_subsets(candidates, variants, space=space, limits=limits)
    gaps = dict(enumerate_sets(candidates, variants, space, limits))
    assert found.proof.is_proven
    assert found.proof.gap == 0
    assert found.proof.bound == found.gaps[found.best]
    assert gaps[found.best] == found.gaps[found.best]  # scored alike, and within the limits
    assert gaps[found.best] == pytest.approx(max(gaps.values()), abs=1e-12)
    return found, len(gaps)


@pytest.mark.slow
def test_the_set_found_is_the_best_of_all_in_200_instances():
    scored = possible = 0
    for seed in range(NUM_INSTANCES):
        rng = np.random.default_rng(seed)
        shape = rng.choice([(2, 4), (3, 4), (3, 3), (4, 2), (4, 3), (6, 1), (8, 1), (5, 2)])
        found, count = check_against_all_sets(rng, shape, int(rng.integers(20, 100)))
        scored, possible = scored + found.proof.num_nodes, possible + count
    assert possible > NUM_INSTANCES * 20


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(12, 1), (6, 2), (6, 4)], ids=["12x1", "6x2", "6x4"])
def test_the_set_found_is_the_best_of_all_in_larger_instances(shape):
    for seed in range(4):
        check_against_all_sets(np.random.default_rng(seed), shape, 300)


@pytest.mark.parametrize("top_k", [20, 2])  # of the latter some videos have more hits
@pytest.mark.parametrize("space", ["logit", "probability"])
def test_parts_and_sets_are_bounded_by_what_they_can_become(monkeypatch, top_k, space):
    rng = np.random.default_rng(3)
    candidates, variants = make_instance(rng, 5, 2, 60, top_k)
    limits = Limits(math.inf)
    bounds = []
    seen = subset_search._Bounds.bound

    def record(self, node):
        bounds.append((node, seen(self, node)))
        return bounds[-1][1]

    monkeypatch.setattr(subset_search._Bounds, "bound", record)
    search = subset_search._SubsetSearch(candidates, variants, space, limits, lambda *_, **__: None)
    with search.threads:
        search.branch()
    gaps = dict(enumerate_sets(candidates, variants, space, limits))
    assert len(bounds) > 20
    assert {len(node.fixed) == node.size for node, _ in bounds} == {True, False}
    for node, bound in bounds:
        held = {search._members[place][0].member for place in node.held}
        allowed = held | {search._members[place][0].member for place in node.available}
        for chosen, gap in gaps.items():
            others = {variant.member for variant in chosen - set(node.fixed)}
            if len(chosen) == node.size and chosen >= set(node.fixed) and held <= others <= allowed:
                assert gap <= bound


def test_without_time_the_best_so_far_is_taken_with_what_another_set_can_gain():
    rng = np.random.default_rng(1)
    candidates, variants = make_instance(rng, 6, 2, 60)
    found = search_subsets(candidates, variants, space="logit", limits=Limits(math.inf, None, 0))
    whole = search_subsets(candidates, variants, space="logit", limits=Limits(math.inf))
    assert not found.proof.is_proven
    assert found.proof.bound == found.gaps[found.best] + found.proof.gap
    assert found.gaps[found.best] <= whole.gaps[whole.best] <= found.proof.bound


def test_an_interruption_keeps_the_best_so_far():
    rng = np.random.default_rng(1)
    candidates, variants = make_instance(rng, 6, 2, 60)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    found = search_subsets(
        candidates, variants, space="logit", limits=Limits(math.inf), progress=interrupt
    )
    assert found.best
    assert not found.proof.is_proven
    assert found.proof.bound == 1


@pytest.mark.parametrize("calls", [1, 4, 10, 25])
def test_an_interruption_in_a_step_leaves_a_bound_that_holds(monkeypatch, calls):
    candidates, variants = make_instance(np.random.default_rng(1), 6, 2, 60)
    whole = search_subsets(candidates, variants, space="logit", limits=Limits(math.inf))
    seen = subset_search._Bounds.bound
    left = iter(range(calls))

    def interrupt(self, node):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return seen(self, node)

    monkeypatch.setattr(subset_search._Bounds, "bound", interrupt)
    # The best set is not found greedily, so that it is among what was cut off.
    monkeypatch.setattr(subset_search._SubsetSearch, "start_greedily", lambda _: None)
    found = search_subsets(candidates, variants, space="logit", limits=Limits(math.inf))
    assert not found.proof.is_proven
    assert found.gaps[found.best] < whole.gaps[whole.best] <= found.proof.bound


def test_a_number_at_the_end_of_a_name_is_no_part_of_the_family():
    names = ["netvlad-1", "netvlad_02", "netvlad3", "netvlad", "gated-netvlad-x", "7"]
    families = [Variant(name, "float32", 1, 0, True).family for name in names]
    assert families == ["netvlad"] * 4 + ["gated-netvlad-x", "7"]
