import zlib

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.casting import quantization_oracle as oracle
from yt8m_ensemble.casting import (
    CODEBOOK_SIZE,
    SCHEMES,
    dequantize,
    pack_nibbles,
    plan_quantized,
    quantize,
    unpack_nibbles,
)
from yt8m_ensemble.errors import CastOverflowError, UsageError
from yt8m_ensemble.values import TensorSpec

LEVELS = {"uint8": 256, "uint5": 32, "uint4": 16}
CODEBOOKS = ("uint8-quantile", "uint8-kmeans")
MATRICES = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.floats(-100, 100, width=32),
)


def weights(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_four_bits_by_hand():
    # Column 0 runs from -1 to 2: levels 0.2 apart; column 1 is constant.
    matrix = np.array([[-1.0, 7.0], [2.0, 7.0], [0.1, 7.0]], np.float32)
    coded, report = quantize("w", matrix, scheme="uint4")
    # Codes 0, 15 and (0.1 + 1) / 0.2 = 5.5, which rounds to an even 6 or, in float32, to 5.
    low, high = unpack_nibbles(coded.codes, rows=3)[:2, 0]
    assert (low, high) == (0, 15)
    np.testing.assert_allclose(coded.tables["scale"], [0.2, 0.0], rtol=1e-6)
    np.testing.assert_array_equal(coded.tables["offset"], [-1.0, 7.0])
    np.testing.assert_array_equal(dequantize(coded)[:, 1], 7.0)
    assert report.size == 6
    assert report.largest == 7.0
    assert report.max_error == pytest.approx(0.1, rel=1e-5)
    assert report.mean_error == pytest.approx(0.1 / 6, rel=1e-5)


def test_the_quantile_codebook_by_hand():
    # 512 values 0..511: each entry is the mean of two neighbours, off by one half.
    coded, report = quantize("w", np.arange(512.0)[:, None], scheme="uint8-quantile")
    np.testing.assert_array_equal(coded.tables["codebook"], np.arange(256) * 2 + 0.5)
    assert report.max_error == report.mean_error == 0.5


@pytest.mark.parametrize("scheme", LEVELS)
@pytest.mark.parametrize("shape", [(7, 3), (8, 5), (1, 4), (6, 1)])
def test_levels_are_those_of_the_oracle(scheme, shape):
    matrix = weights(shape)
    coded, _ = quantize("w", matrix, scheme=scheme)
    expected = oracle.affine(matrix, LEVELS[scheme])
    np.testing.assert_allclose(dequantize(coded), expected, atol=1e-6)


def test_the_quantile_codebook_is_that_of_the_oracle():
    values = weights((1000, 3))
    coded, _ = quantize("w", values, scheme="uint8-quantile")
    expected = oracle.quantile_codebook(values.ravel(), CODEBOOK_SIZE)
    np.testing.assert_allclose(coded.tables["codebook"], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("scheme", CODEBOOKS)
def test_every_value_gets_the_nearest_entry(scheme):
    values = weights((300, 2))
    coded, report = quantize("w", values, scheme=scheme)
    distances = oracle.nearest(coded.tables["codebook"], values)
    errors = np.abs(dequantize(coded) - values).ravel()
    np.testing.assert_allclose(errors, distances, atol=1e-6)
    assert report.max_error == pytest.approx(distances.max(), rel=1e-5)
    assert report.mean_error == pytest.approx(distances.mean(), rel=1e-4)


def test_k_means_entries_are_the_means_of_what_they_serve_and_beat_quantiles():
    values = weights((4000, 4))
    coded, _ = quantize("w", values, scheme="uint8-kmeans")
    other, _ = quantize("w", values, scheme="uint8-quantile")
    squared = [np.square(dequantize(q) - values).sum() for q in (coded, other)]
    assert squared[0] < squared[1]


@settings(max_examples=60, deadline=None)
@given(matrix=MATRICES, scheme=st.sampled_from(sorted(LEVELS)))
def test_no_value_is_off_by_more_than_half_a_level(matrix, scheme):
    coded, report = quantize("w", matrix, scheme=scheme)
    half = (matrix.max(axis=0) - matrix.min(axis=0)) / (LEVELS[scheme] - 1) / 2
    rounding = 4e-7 * np.abs(matrix).max()
    assert np.all(np.abs(dequantize(coded) - matrix) <= half * 1.0001 + rounding)
    assert report.max_error <= half.max() * 1.0001 + rounding


@settings(max_examples=30, deadline=None)
@given(matrix=MATRICES, scheme=st.sampled_from(sorted(SCHEMES)))
def test_what_is_stored_is_what_was_planned(matrix, scheme):
    # Groups refuse ranges that their float16 tables cannot hold.
    assume(scheme != "uint4-groups" or not 0 < np.abs(matrix).max() < 1e-3)
    coded, _ = quantize("w", matrix, scheme=scheme)
    planned = plan_quantized(TensorSpec("w", matrix.shape, "float32"), scheme)
    stored: dict[str, np.ndarray] = {"codes": coded.codes, **coded.tables}
    assert {part: (a.shape, a.dtype.name) for part, a in stored.items()} == {
        part: (spec.shape, spec.dtype) for part, spec in planned.items()
    }
    assert coded.nbytes == sum(spec.nbytes for spec in planned.values())
    assert dequantize(coded).shape == matrix.shape


@settings(max_examples=30, deadline=None)
@given(
    codes=hnp.arrays(
        np.uint8, hnp.array_shapes(min_dims=2, max_dims=2), elements=st.integers(0, 15)
    )
)
def test_nibbles_survive_packing(codes):
    packed = pack_nibbles(codes)
    assert len(packed) == (len(codes) + 1) // 2
    np.testing.assert_array_equal(unpack_nibbles(packed, rows=len(codes)), codes)
    # The formula that a graph follows, which knows no bits.
    low, high = packed % 16, packed // 16
    np.testing.assert_array_equal(np.concatenate([low, high])[: len(codes)], codes)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("shape", [(5,), (), (1, 6, 4), (2, 3, 5)])
def test_any_shape_comes_back(scheme, shape):
    array = np.asarray(weights(shape), np.float32)
    coded, _ = quantize("w", array, scheme=scheme)
    decoded = dequantize(coded)
    assert decoded.shape == shape
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, array, atol=0.3)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_equal_values_come_back_exactly(scheme):
    array = np.full((10, 3), np.float32(0.1))
    coded, report = quantize("w", array, scheme=scheme)
    # The offsets of groups are float16.
    allowed = 0.1 * 2**-11 if scheme == "uint4-groups" else 0
    np.testing.assert_allclose(dequantize(coded), array, rtol=0, atol=allowed)
    assert report.max_error <= allowed


def test_blocks_do_not_show(monkeypatch):
    array = weights((100, 7))
    whole, report = quantize("w", array)
    monkeypatch.setattr("yt8m_ensemble.casting.quantization._BLOCK_VALUES", 64)
    parts, again = quantize("w", array)
    np.testing.assert_array_equal(whole.codes, parts.codes)
    assert again.max_error == report.max_error
    assert again.mean_error == pytest.approx(report.mean_error)


def test_a_value_that_becomes_zero_is_underflow():
    array = np.array([[-255.0], [0.4], [0.0]])  # levels 1 apart but for the last fraction
    _, report = quantize("w", array * np.array([[1.0], [0.0], [1.0]]) + [[0.0], [-0.4], [0.0]])
    assert report.underflow_share == pytest.approx(1 / 3)


def test_groups_of_rows_have_levels_of_their_own():
    matrix = weights((300, 5))
    matrix[100:200] *= 50
    coded, report = quantize("w", matrix, scheme="uint4-groups")
    assert coded.tables["scale"].shape == (3, 5)
    assert coded.codes.shape == (150, 5)
    decoded = dequantize(coded)
    for start in (0, 100, 200):
        rows = slice(start, start + 100)
        expected = oracle.affine(matrix[rows], 16)
        # float16 tables move a level by 2^-11 of the range.
        bound = 2.0**-10 * np.abs(matrix[rows]).max(axis=0)
        assert np.all(np.abs(decoded[rows] - expected) <= bound + np.ptp(matrix[rows], 0) / 15)
        half = np.ptp(matrix[rows], axis=0) / 30
        assert np.all(np.abs(decoded[rows] - matrix[rows]) <= half + bound)
    assert report.max_error == np.abs(decoded - matrix).max()
    plain, _ = quantize("w", matrix, scheme="uint4")
    error, other = (np.square(dequantize(q) - matrix)[:100].mean() for q in (coded, plain))
    assert error < other / 100


def test_dead_units_may_go_and_small_tensors_may_not():
    matrix = weights((200, 4))
    matrix[:, 1] *= 1e-12
    coded, report = quantize("w", matrix, scheme="uint4-groups")
    assert np.abs(dequantize(coded)[:, 1]).max() < 1e-7
    assert report.max_error < 0.5
    with pytest.raises(CastOverflowError, match="'w' have ranges that float16 tables cannot hold"):
        quantize("w", matrix * 1e-9, scheme="uint4-groups")
    with pytest.raises(CastOverflowError, match="4 of 4 columns"):
        quantize("w", weights((200, 4)) * np.float32(1e9), scheme="uint4-groups")


def test_codes_of_five_bits_pack_to_four():
    """Weights have heavier tails than a normal distribution; the archive is packed at level 1."""
    values = np.random.default_rng(0).laplace(size=(1152, 256)).astype(np.float32)
    coded, _ = quantize("w", values, scheme="uint5")
    assert 8 * len(zlib.compress(coded.codes.tobytes(), 1)) / values.size < 4.8


def test_what_is_not_finite_is_refused():
    array = np.array([[1.0], [np.nan], [np.inf]])
    with pytest.raises(CastOverflowError, match="2 of 3 values in 'm/w' are not finite") as caught:
        quantize("m/w", array)
    assert caught.value.details == {"name": "m/w", "count": 2, "size": 3}


def test_an_unknown_scheme_lists_the_known():
    with pytest.raises(UsageError, match="no quantization 'int3'; one of uint8, uint8-q") as caught:
        plan_quantized(TensorSpec("w", (2, 2), "float32"), "int3")  # type: ignore[arg-type]
    assert caught.value.scheme == "int3"
