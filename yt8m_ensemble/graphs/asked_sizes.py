"""Which operations make results of a size that the value of an input tells, and how many values.

Shapes of inputs are not looked at: a count is the least that a result holds. Reads no graph.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Counts = list[tuple[Callable[..., float], tuple[int, ...]]]

# Operations by the input that tells the shape of their result, or the length of one of its axes.
_SIZE_INPUTS: Final = {
    0: "Conv2DBackpropInput Conv3DBackpropInputV2 DepthwiseConv2dNativeBackpropInput Fill "
    "ParameterizedTruncatedNormal RaggedTensorToTensor RandomGamma RandomPoisson RandomPoissonV2 "
    "RandomStandardNormal RandomUniform RandomUniformInt StatelessParameterizedTruncatedNormal "
    "StatelessRandomBinomial StatelessRandomGammaV2 StatelessRandomGammaV3 StatelessRandomNormal "
    "StatelessRandomNormalV2 StatelessRandomPoisson StatelessRandomUniform "
    "StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2 StatelessRandomUniformInt "
    "StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessTruncatedNormal "
    "StatelessTruncatedNormalV2 TensorArrayV3 TruncatedNormal",
    1: "Bincount BroadcastTo DecodePaddedRaw DenseBincount FFTND FusedResizeAndPadConv2D IFFTND "
    "IRFFT IRFFT2D IRFFT3D IRFFTND Multinomial OneHot QuantizedResizeBilinear RFFT RFFT2D RFFT3D "
    "RFFTND ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate "
    "SparseToDense StatelessMultinomial TensorListReserve TensorListResize Tile",
    2: "HistogramFixedWidth ImageProjectiveTransformV2 ImageProjectiveTransformV3 LinSpace "
    "NonMaxSuppressionV4 NonMaxSuppressionV5 RaggedBincount RaggedFillEmptyRows ScatterNd "
    "SegmentMaxV2 SegmentMinV2 SegmentProdV2 SegmentSumV2 "
    "UnsortedSegmentJoin UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd "
    "UnsortedSegmentSum",
    3: "CombinedNonMaxSuppression CropAndResize SparseBincount "
    "SparseSegmentMeanWithNumSegments SparseSegmentSqrtNWithNumSegments "
    "SparseSegmentSumWithNumSegments TensorListScatterV2",
}
# The same for what is put around a tensor, before and after along each axis.
_PADDING_INPUTS: Final = {
    1: "FusedPadConv2D MirrorPad Pad PadV2 SpaceToBatch",
    2: "FusedResizeAndPadConv2D SpaceToBatchND",
}
# The same for the row that each value is added to.
_ROW_INPUTS: Final = {
    1: "SegmentMax SegmentMaxV2 SegmentMean SegmentMin SegmentMinV2 SegmentProd SegmentProdV2 "
    "SegmentSum SegmentSumV2",
    2: "SparseSegmentMean SparseSegmentSqrtN SparseSegmentSum",
}


def asked_values(operation: str, given: Mapping[int, Any]) -> float:
    """Return the least number of values that an operation's result holds.

    Args:
        operation: One of `SIZED_BY_VALUES`.
        given: Values of those inputs that are constants, by position.

    Returns:
        The number; 0 if the constants do not tell, or make no sense.
    """
    counts = [0.0]
    for count, places in SIZED_BY_VALUES[operation]:
        if all(place in given for place in places):
            try:
                counts.append(count(*(given[place] for place in places)))
            except (TypeError, ValueError):
                continue
    return max(counts)


def _product(sizes: Any) -> float:
    return float(math.prod(max(0, int(size)) for size in np.ravel(sizes)))


def _padded(paddings: Any) -> float:
    return _product([max(1, int(before) + int(after)) for before, after in paddings])


def _rows(places: Any) -> float:
    return float(np.max(places)) + 1


def _steps(start: Any, limit: Any, delta: Any) -> float:
    start, limit, delta = (np.asarray(value, float) for value in (start, limit, delta))
    steps = np.divide(limit - start, delta, out=np.zeros_like(limit), where=delta != 0)
    return float(np.abs(steps).sum())


def _square(diagonals: Any) -> float:
    return float(np.max(np.abs(np.asarray(diagonals, float)))) ** 2


def _tabulate() -> dict[str, Counts]:
    matrix: Counts = [
        (_square, (1,)),
        (lambda rows, columns: _product([rows, columns]), (2, 3)),
    ]
    table: dict[str, Counts] = {
        "Range": [(_steps, (0, 1, 2))],
        "RaggedRange": [(_steps, (0, 1, 2))],
        "SparseFillEmptyRows": [(lambda shape: _product(shape[:1]), (2,))],
        "MatrixDiagV2": matrix,
        "MatrixDiagV3": matrix,
    }
    for inputs, count in (
        (_SIZE_INPUTS, _product),
        (_PADDING_INPUTS, _padded),
        (_ROW_INPUTS, _rows),
    ):
        for place, names in inputs.items():
            for name in names.split():
                table.setdefault(name, []).append((count, (place,)))
    return table


SIZED_BY_VALUES: Final = _tabulate()
"""By operation: what counts the values of its result, and from which inputs."""
