"""The guard against averaging different runs."""

import numpy as np
import pytest

from yt8m_ensemble.averaging import check_one_run, compare_neighbors
from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.errors import CheckpointError
from yt8m_ensemble.values import DictSource


def run(seed, steps=3, drift=0.05, shape=(60, 50)):
    """Return checkpoints of a made-up run: a random start and small moves."""
    generator = np.random.default_rng(seed)
    w = generator.normal(size=shape)
    moves = np.cumsum([drift * generator.normal(size=shape) for _ in range(steps)], 0)
    return {
        f"run{seed}/{i}": DictSource({"w": w + move, "b": np.zeros(shape[1])})
        for i, move in enumerate(moves)
    }


def specs(sources):
    return list(next(iter(sources.values())).specs().values())


def test_distance_and_cosine_by_hand():
    a = np.zeros((16, 16))
    b = np.zeros((16, 16))
    a[0, :2], b[0, :2] = (3, 4), (4, 3)  # cosine 24/25, distance sqrt(2), norms 5
    sources = {"a": DictSource({"w": a}), "b": DictSource({"w": b})}
    (pair,) = compare_neighbors(sources, specs(sources))
    assert (pair.older, pair.newer, pair.tensor) == ("a", "b", "w")
    assert pair.cosine == pytest.approx(0.96)
    assert pair.distance == pytest.approx(2**0.5 / 5)


def test_one_run_passes():
    sources = run(0)
    evidence = check_one_run(sources, specs(sources))
    assert [(pair.older, pair.newer) for pair in evidence] == [
        ("run0/0", "run0/1"), ("run0/1", "run0/2"),
    ]  # fmt: skip
    assert max(pair.distance for pair in evidence) < 0.1


def test_two_runs_are_refused_with_the_evidence():
    sources = {**run(0), **run(1)}
    with pytest.raises(CheckpointError, match="does not continue the run of 'run0/2'") as error:
        check_one_run(sources, specs(sources))
    assert error.value.checkpoints == ("run0/2", "run1/0")
    assert error.value.tensor == "w"
    assert error.value.cosine == pytest.approx(0, abs=0.1)
    assert error.value.distance == pytest.approx(1.41, abs=0.1)
    assert "the other neighbors are 0.05 to 0.05 apart" in str(error.value)
    assert "`--allow-different-runs`" in str(error.value)


def test_two_single_checkpoints_need_no_reference():
    sources = {"a": run(0)["run0/0"], "b": run(1)["run1/0"]}
    with pytest.raises(CheckpointError, match=r"stay above 0\.3\. Averages"):
        check_one_run(sources, specs(sources))


def test_a_permutation_of_hidden_units_is_found_though_the_norms_agree():
    first = run(0)["run0/0"]
    order = np.random.default_rng(5).permutation(60)
    second = DictSource({"w": first.read("w")[order], "b": first.read("b")})
    sources = {"a": first, "b": second}
    with pytest.raises(CheckpointError):
        check_one_run(sources, specs(sources))


def test_small_constant_zero_and_broken_tensors_decide_nothing():
    generator = np.random.default_rng(0)
    w = generator.normal(size=(40, 40))

    def source():
        return DictSource({
            "bias": generator.normal(size=300),
            "noise": generator.normal(size=(40, 40)) * 1e-5,
            "small": generator.normal(size=(2, 3)),
            "w": w,
            "zero": np.zeros((40, 40)),
        })  # fmt: skip

    sources = {"a": source(), "b": source()}
    assert check_one_run(sources, specs(sources))[0].tensor == "w"
    broken = {"a": DictSource({"w": np.full((40, 40), np.nan)}), "b": DictSource({"w": w})}
    assert check_one_run(broken, specs(broken))[0].cosine == 1
    empty = {"a": DictSource({"b": np.ones(3)}), "b": DictSource({"b": np.ones(3)})}
    assert check_one_run(empty, specs(empty))[0].distance == 0
    assert check_one_run({"a": source()}, []) == []


def test_large_tensors_are_sampled_and_complex_ones_taken_by_magnitude():
    big = np.random.default_rng(0).normal(size=(300, 300))
    sources = {"a": DictSource({"w": big}), "b": DictSource({"w": big * 1j})}
    (pair,) = compare_neighbors(sources, specs({"a": sources["b"]}))
    assert 0 < abs(pair.cosine) <= 1


def test_the_originals_runs_pass(fixtures):
    for member in ("c2h8", "c4h6", "c2h12"):
        sources = {
            str(step): open_checkpoint(str(fixtures / f"tiny/{member}/model.ckpt-{step}"))
            for step in (60, 110, 160, 210)
        }
        averaged = [s for s in sources["60"].specs().values() if "Adam" not in s.name]
        evidence = check_one_run(sources, [s for s in averaged if s.dtype == "float32"])
        assert min(pair.cosine for pair in evidence) > 0.7
