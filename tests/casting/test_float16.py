"""Casts to float16 and their reports."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.casting.float16_oracle import cast
from yt8m_ensemble.casting import Float16Cast, cast_block, cast_to_float16
from yt8m_ensemble.errors import CastOverflowError

fitting = st.floats(-65519, 65519, width=32)


def test_by_hand():
    # 2049 lies between 2048 and 2050; 1e-9 is below half the smallest subnormal; 2^-15 is one.
    values = np.array([[0.0, -1.5, 2049.0], [1e-9, 2.0**-15, 65504.0]], np.float32)
    half, report = cast_to_float16("w", values)
    assert half.dtype == np.float16
    assert half.tolist() == [[0.0, -1.5, 2048.0], [0.0, 2.0**-15, 65504.0]]
    assert (report.name, report.size, report.largest) == ("w", 6, 65504.0)
    assert report.underflow_share == pytest.approx(1 / 6)
    assert report.subnormal_share == pytest.approx(1 / 6)
    assert report.max_error == 1.0
    assert report.mean_error == pytest.approx((1 + 1e-9) / 6)


@settings(deadline=None)
@given(st.lists(fitting, max_size=30))
def test_agrees_with_the_oracle(numbers):
    values = np.array(numbers, np.float32)
    half, report = cast_to_float16("w", values)
    expected = [cast(value) for value in values]
    assert [Fraction(float(h)) for h in half] == expected
    errors = [abs(e - Fraction(float(v))) for e, v in zip(expected, values, strict=True)]
    assert report.max_error == pytest.approx(float(max(errors, default=0)), rel=1e-6)
    became_zero = sum(e == 0 and v != 0 for e, v in zip(expected, values, strict=True))
    subnormal = sum(0 < abs(e) < Fraction(1, 2**14) for e in expected)
    size = max(len(values), 1)
    assert report.underflow_share == became_zero / size
    assert report.subnormal_share == subnormal / size


@settings(deadline=None)
@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=3), elements=fitting), st.integers(1, 9))
def test_blocks_change_nothing(values, block):
    half, whole = cast_to_float16("w", values)
    cast_blocks = Float16Cast("w")
    flat = values.reshape(-1)
    parts = cast_blocks.blocks(flat[i : i + block] for i in range(0, flat.size, block))
    assert np.concatenate(list(parts)).tobytes() == half.tobytes()
    report = cast_blocks.report()
    assert report.mean_error == pytest.approx(whole.mean_error)
    assert vars(report) | {"mean_error": 0} == vars(whole) | {"mean_error": 0}


@settings(deadline=None)
@given(hnp.arrays(np.float16, 9, elements=st.floats(-65504, 65504, width=16)))
def test_what_fits_comes_back(values):
    half, report = cast_to_float16("w", values.astype(np.float32))
    assert half.tobytes() == values.tobytes()
    assert report.max_error == 0


def test_overflow_is_counted_over_all_blocks_and_named():
    values = np.zeros(600_000, np.float32)
    values[[0, 1, 599_999]] = [70_000, 65_520, -71_230.5]
    with pytest.raises(CastOverflowError) as error:
        cast_to_float16("model2/tower/experts/weights", values)
    assert str(error.value) == (
        "3 of 600,000 values in 'model2/tower/experts/weights' do not fit float16 (largest "
        "magnitude 71,230.5, limit 65,504). Leave it as it is, as with "
        "`yt8m-ens merge --keep-float32 model2/tower/experts/weights`."
    )
    assert (error.value.count, error.value.size, error.value.limit) == (3, 600_000, 65_504.0)
    assert error.value.largest == 71_230.5


def test_values_that_round_down_to_the_limit_fit():
    half, _ = cast_to_float16("w", np.array([65_519.996], np.float32))
    assert half[0] == 65_504


@pytest.mark.parametrize(("bad", "words"), [(np.nan, "are NaN"), (np.inf, "do not fit float16")])
def test_what_is_not_finite_is_refused(bad, words):
    with pytest.raises(CastOverflowError, match=f"1 of 2 values in 'w' {words}") as error:
        cast_to_float16("w", np.array([1, bad], np.float32))
    assert error.value.count == 1


def test_an_empty_tensor_has_a_report_of_zeros():
    half, report = cast_to_float16("w", np.zeros((0, 3), np.float32))
    assert half.shape == (0, 3)
    assert (report.size, report.largest, report.mean_error) == (0, 0.0, 0.0)


def test_every_pattern_of_bits_is_cast_as_numpy_does():
    """Each exponent with both signs, and significands around every place where rounding turns."""
    edges = np.arange(0, 1 << 23, 1 << 12, dtype=np.uint32)
    significands = np.unique(np.concatenate([edges, edges + 1, edges - 1, edges + 77]) & 0x7FFFFF)
    for exponent in range(65_536 >> 7):
        values = (np.uint32(exponent << 23) | significands).view(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            expected = values.astype(np.float16)
        half, errors = cast_block(values)
        is_nan = np.isnan(expected)
        np.testing.assert_array_equal(np.isnan(half), is_nan)
        assert half[~is_nan].tobytes() == expected[~is_nan].tobytes()
        assert errors.nans == is_nan.sum()
        assert errors.overflows == np.isinf(expected).sum()
        if not (errors.nans or errors.overflows):
            gaps = np.abs(expected.astype(np.float64) - values)
            assert errors.max_error == gaps.max()
            assert errors.error_sum == pytest.approx(gaps.sum(), rel=1e-12)
            assert errors.underflows == ((expected == 0) & (values != 0)).sum()
            assert errors.subnormals == ((expected != 0) & (np.abs(expected) < 2.0**-14)).sum()
