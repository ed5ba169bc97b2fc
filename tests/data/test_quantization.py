"""Bytes and features: values by hand, round trips, the official formula."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from yt8m_ensemble.data.quantization import dequantize, quantize

STEP = 4 / 255


def test_values_by_hand():
    # q * 4/255 + 4/512 - 2 with 4/512 = 0.0078125: 51 is a fifth of 255, so 0.8 up.
    np.testing.assert_allclose(
        dequantize(np.array([0, 51, 255], np.uint8)), [-1.9921875, -1.1921875, 2.0078125]
    )


def test_every_byte_survives_the_round_trip():
    everything = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(quantize(dequantize(everything)), everything)


@given(arrays(np.float32, 8, elements=st.floats(-1.9921875, 2.0078125, width=32)))
def test_the_error_is_at_most_half_a_step(features):
    assert np.abs(dequantize(quantize(features)) - features).max() <= STEP / 2 + 1e-6


@given(arrays(np.float64, 8, elements=st.floats(-1e9, 1e9)))
def test_what_is_outside_is_clipped_and_order_is_kept(features):
    quantized = quantize(np.sort(features))
    assert (np.diff(quantized.astype(int)) >= 0).all()
    assert (quantize(features[features > 2.01]) == 255).all()
    assert (quantize(features[features < -2]) == 0).all()
