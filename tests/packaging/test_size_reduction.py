import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yt8m_ensemble.packaging import SizeReduction, plan_size_reduction
from yt8m_ensemble.values import TensorSpec

KB = 1000
SPECS = (
    TensorSpec("a/w", (100, 100), "float32"),  # 40 kB
    TensorSpec("b/w", (100, 50), "float32"),  # 20 kB
    TensorSpec("b/half", (100, 30), "float16"),  # 6 kB
    TensorSpec("b/bn/moving_mean", (2000,), "float32"),
    TensorSpec("b/bias", (2000,), "float32"),  # 8 kB, one column: no uint8
    TensorSpec("a/small", (10, 10), "float32"),
    TensorSpec("global_step", (), "int64"),
)
SIZES = {"a": 40 * KB, "b": 42 * KB, "c": 5 * KB}
WEIGHTS = {"a": 0.6, "b": 0.3, "c": 0.1}


def plan(excess, **options):
    wanted = {"member_bytes": SIZES, "member_weights": WEIGHTS, **options}
    return plan_size_reduction(SPECS, excess=excess, **wanted)


@pytest.mark.parametrize(
    ("excess", "casts"),
    [
        (1, {"a/w": "float16"}),
        (20 * KB, {"a/w": "float16"}),
        (20 * KB + 1, {"a/w": "float16", "b/w": "float16"}),
        (34 * KB, {"a/w": "float16", "b/w": "float16", "b/bias": "float16"}),
        # 34 kB from float16, 9.2 more where 'a/w' goes from 20 kB to 10 kB of codes, 0.8 of tables.
        (43_200, {"a/w": "uint8", "b/w": "float16", "b/bias": "float16"}),
        (43_201, {"a/w": "uint8", "b/w": "uint8", "b/bias": "float16"}),
        (50 * KB, {"a/w": "uint8", "b/w": "uint8", "b/half": "uint8", "b/bias": "float16"}),
        (60 * KB, None),
    ],
)
def test_as_few_tensors_as_possible_lose_as_few_bits_as_possible(excess, casts):
    assert plan(excess).casts == casts


@pytest.mark.parametrize(
    ("excess", "drops"),
    [
        (5 * KB, ("c",)),
        (5 * KB + 1, ("b",)),  # 0.3 of the mixture, less than a's 0.6
        (43 * KB, ("b", "c")),
        (47 * KB + 1, ("a", "b")),
        (83 * KB, None),
    ],
)
def test_the_least_weighed_members_that_are_enough_go(excess, drops):
    assert plan(excess).drops == drops


def test_many_members_go_one_by_one():
    sizes = {f"m{n}": 10 for n in range(20)}
    weights = {f"m{n}": 20 - n for n in range(20)}
    found = plan(25, member_bytes=sizes, member_weights=weights)
    assert found.drops == ("m19", "m18", "m17")
    assert plan(195, member_bytes=sizes, member_weights=weights).drops is None


@settings(max_examples=60, deadline=None)
@given(
    members=st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9)), min_size=1, max_size=6),
    excess=st.integers(1, 150),
)
def test_no_lighter_set_of_members_would_do(members, excess):
    sizes = {f"m{n}": size for n, (size, _) in enumerate(members)}
    weights = {f"m{n}": weight for n, (_, weight) in enumerate(members)}
    found = plan(excess, member_bytes=sizes, member_weights=weights).drops
    enough = [
        sum(weights[name] for name in chosen)
        for count in range(1, len(sizes))
        for chosen in itertools.combinations(sizes, count)
        if sum(sizes[name] for name in chosen) >= excess
    ]
    if found is None:
        assert not enough
    else:
        assert sum(sizes[name] for name in found) >= excess
        assert sum(weights[name] for name in found) == min(enough)


def test_the_advice_is_one_sentence():
    both = SizeReduction({"a": "float16", "b": "uint8", "e": "float16"}, ("c", "d"))
    assert both.sentence() == (
        "Merge again: store tensors in fewer bits, 2 as float16 (`merge --fp16`) and "
        "1 as uint8 (`merge --quantize uint8`), or drop c, d."
    )
    assert SizeReduction(None, ("c",)).sentence() == "Merge again: drop c."
    neither = "No cast and no smaller set of members meets the limit."
    assert SizeReduction(None, None).sentence() == neither
