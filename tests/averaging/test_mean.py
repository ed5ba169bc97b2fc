"""The arithmetic of averages."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.averaging.oracle import exact_mean
from yt8m_ensemble.averaging import BLOCK_VALUES, MeanSource, RunningMean, mean_blocks, plan_average
from yt8m_ensemble.errors import CheckpointError
from yt8m_ensemble.values import DictSource

DTYPES = ["float16", "float32", "float64", "bfloat16", "complex64", "complex128"]


def mean(arrays, weights=None, **options):
    """Average arrays through sources."""
    sources = {f"c{i}": DictSource({"w": array}) for i, array in enumerate(arrays)}
    specs = [sources["c0"].specs()["w"]]
    shares = weights or [1 / len(arrays)] * len(arrays)
    ((spec, blocks),) = [
        (s, [x.copy() for x in b]) for s, b in mean_blocks(sources, specs, shares, **options)
    ]
    flat = np.concatenate(blocks) if blocks else np.empty(0, arrays[0].dtype)
    return flat.reshape(spec.shape)


floats = hnp.arrays(
    np.float32, 7, elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=True)
)


def test_by_hand():
    assert mean([np.array([1.0, 2.0]), np.array([3.0, 6.0])]).tolist() == [2.0, 4.0]
    assert mean(
        [np.array([1, 2], np.float32), np.array([3, 6], np.float32)], [0.75, 0.25]
    ).tolist() == [1.5, 3.0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weights", [None, [0.1, 0.2, 0.3, 0.39999999999999997]])
def test_mean_of_copies_is_the_copy_bit_for_bit(dtype, weights):
    generator = np.random.default_rng(1)
    range_ = 4 if dtype == "float16" else 30
    values = (
        generator.normal(size=5000) * 10.0 ** generator.integers(-range_, range_, 5000)
    ).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    values[:3] = [0.0, -0.0, 2.0**-20]
    result = mean([values] * 4, weights)
    assert result.dtype == values.dtype
    assert result.tobytes() == values.tobytes()


@settings(deadline=None)
@given(st.lists(floats, min_size=1, max_size=6), st.data())
def test_within_half_a_unit_of_the_exact_mean(arrays, data):
    raw = data.draw(st.lists(st.integers(1, 9), min_size=len(arrays), max_size=len(arrays)))
    weights = [w / sum(raw) for w in raw]
    result = mean(arrays, weights)
    for got, exact, column in zip(
        result, exact_mean(arrays, weights), zip(*arrays, strict=True), strict=True
    ):
        # The bound in the module's docstring: half a unit in the last place, and the sum's own.
        slack = (len(arrays) + 1) * 2.0**-53 * float(np.abs(column).max())
        assert abs(float(got) - float(exact)) <= np.spacing(np.abs(got)) / 2 + slack


@settings(deadline=None)
@given(st.lists(floats, min_size=2, max_size=5))
def test_between_smallest_and_largest(arrays):
    for dtype in (np.float32, np.float64):
        result = mean([array.astype(dtype) for array in arrays])
        assert (result >= np.min(arrays, 0)).all()
        assert (result <= np.max(arrays, 0)).all()


@settings(deadline=None)
@given(st.lists(floats, min_size=2, max_size=5), st.randoms())
def test_order_does_not_matter(arrays, random):
    shuffled = list(arrays)
    random.shuffle(shuffled)
    scale = np.spacing(np.float32(np.abs(arrays).max()))
    assert np.abs(mean(arrays) - mean(shuffled)).max() <= scale


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 4))
def test_threads_and_blocks_do_not_matter(threads):
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=(2, BLOCK_VALUES + 3)).astype(np.float32) for _ in range(3)]
    expected = (np.sum(arrays, 0, dtype=np.float64) / 3).astype(np.float32)
    assert np.array_equal(mean(arrays, threads=threads), expected)


def test_inputs_of_weight_zero_are_not_read():
    assert mean(
        [np.array([np.nan], np.float32), np.array([5], np.float32)], [0.0, 1.0]
    ).tolist() == [5.0]


def test_empty_and_scalar_tensors():
    assert mean([np.zeros((0, 3), np.float32)] * 2).shape == (0, 3)
    assert mean([np.array(1.0, np.float32), np.array(2.0, np.float32)]).tolist() == 1.5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_named(bad):
    arrays = [np.ones(9, np.float32), np.full(9, bad, np.float32)]
    with pytest.raises(CheckpointError, match=r"'w' in 'c1' holds NaN or infinity \(9 of") as error:
        mean(arrays)
    assert (error.value.tensor, error.value.checkpoint, error.value.count) == ("w", "c1", 9)
    assert not np.isfinite(mean(arrays, allow_nonfinite=True)).any()


class InBlocks(DictSource):
    """Serve blocks only, as a checkpoint does."""

    def read_block(self, name, start, out):
        out[:] = super().read(name).reshape(-1)[start : start + len(out)]

    def read(self, name):
        raise AssertionError(name)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sources_that_serve_blocks_are_read_in_blocks(dtype):
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    arrays = [np.full(BLOCK_VALUES + 5, value).astype(kind) for value in (1.0, 3.0)]
    sources = {str(i): InBlocks({"w": array}) for i, array in enumerate(arrays)}
    specs = list(sources["0"].specs().values())
    ((_, blocks),) = (
        (spec, [block.copy() for block in blocks])
        for spec, blocks in mean_blocks(sources, specs, [0.5, 0.5])
    )
    assert [len(block) for block in blocks] == [BLOCK_VALUES, 5]
    assert all((block == np.array(2.0).astype(kind)).all() for block in blocks)


def test_finite_doubles_whose_difference_is_not_stay_in_range():
    top = np.finfo(np.float64).max
    assert np.isfinite(mean([np.array([top]), np.array([-top])])).all()


def test_abandoned_halfway_it_stops():
    sources = {"a": DictSource({"w": np.ones(9 * BLOCK_VALUES, np.float32)})}
    means = mean_blocks(sources, list(sources["a"].specs().values()), [1.0])
    _, blocks = next(means)
    assert len(next(blocks)) == BLOCK_VALUES
    del blocks, means


def test_sources_of_means_agree_with_blocks():
    generator = np.random.default_rng(3)
    arrays = [generator.normal(size=(3, 4)).astype(np.float32) for _ in range(3)]
    step = np.array(5)
    sources = {
        str(i): DictSource({"w": array, "global_step": step}) for i, array in enumerate(arrays)
    }
    plan = plan_average(sources, newest="2")
    running = RunningMean(plan)
    for source in sources.values():
        running.add(source)
    for average in (MeanSource(sources, plan), running):
        assert list(average.specs()) == ["global_step", "w"]
        assert average.read("global_step") == 5
        assert np.array_equal(average.read("w"), mean(arrays))
    weighted = MeanSource(sources, plan, [0.5, 0.5, 0.0])
    assert np.array_equal(weighted.read("w"), mean(arrays[:2]))
