"""Weights as 8-bit or packed 4-bit codes with small tables, and back.

Six schemes, each with the formula that a graph decodes by, all in float32:

    uint8            w[r, c] = scale[c] * q[r, c] + offset[c]            q in 0..255
    uint5            the same with q in 0..31; a byte each, which gzip packs to about 4 bits
    uint4            the same with q in 0..15; two codes a byte (see `pack_nibbles`)
    uint4-groups     w[r, c] = scale[g, c] * q[r, c] + offset[g, c]      g = r // S; float16 tables
    uint8-quantile   w[r, c] = codebook[q[r, c]]                         256 entries
    uint8-kmeans     the same

A tensor is looked at as a matrix: columns are its last axis, the output channels of a layer's
weights; a vector is one column. Opens no file and knows no graph.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

import numpy as np

from yt8m_ensemble.casting.report import BlockErrors, CastReport, join_errors
from yt8m_ensemble.errors import CastOverflowError, UsageError
from yt8m_ensemble.options.choices import Scheme
from yt8m_ensemble.values import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

SCHEMES: Final[tuple[Scheme, ...]] = get_args(Scheme)
CODEBOOK_SIZE: Final = 256

_BLOCK_VALUES: Final = 1 << 18
# A codebook of 256 entries is settled by far fewer values; sorting all would double the memory.
_SAMPLE_VALUES: Final = 1 << 20
_KMEANS_ROUNDS: Final = 50
_GROUP_ROWS: Final = 128
_FLOAT16_STEP: Final = 2.0**-11  # relative error of a value's nearest float16
_LEVELS: Final = {"uint8": 256, "uint5": 32, "uint4": 16, "uint4-groups": 16}
_PARTS: Final[Mapping[Scheme, tuple[str, ...]]] = {
    "uint8": ("scale", "offset"),
    "uint5": ("scale", "offset"),
    "uint4": ("scale", "offset"),
    "uint4-groups": ("scale", "offset"),
    "uint8-quantile": ("codebook",),
    "uint8-kmeans": ("codebook",),
}


@dataclass(frozen=True)
class Quantized:
    """One tensor as codes and tables.

    Args:
        scheme: How it is coded.
        shape: The tensor's own shape.
        codes: uint8; shape `(R, C)` for the tensor as a matrix, or of packed codes `(H, C)`.
        tables: `scale` and `offset`, each `(C,)`, or `codebook`, `(256,)`, float32; of groups
            `scale` and `offset`, each `(G, C)`, float16.
    """

    scheme: Scheme
    shape: tuple[int, ...]
    codes: NDArray[np.uint8]
    tables: Mapping[str, NDArray[np.floating]]

    @property
    def nbytes(self) -> int:
        """Bytes of codes and tables."""
        return self.codes.nbytes + sum(table.nbytes for table in self.tables.values())


def plan_quantized(spec: TensorSpec, scheme: Scheme) -> dict[str, TensorSpec]:
    """Describe what `quantize` makes of a tensor, before it is read.

    Args:
        spec: The tensor.
        scheme: How to code it.

    Returns:
        By part, the tensor that stores it: `codes` under the tensor's own name, the tables under
        `<name>/scale`, `<name>/offset` or `<name>/codebook`.

    Raises:
        UsageError: If there is no such scheme.

    Examples:
        >>> spec = TensorSpec("w", (5, 3), "float32")
        >>> [(part.name, part.shape) for part in plan_quantized(spec, "uint4").values()]
        [('w', (3, 3)), ('w/scale', (3,)), ('w/offset', (3,))]
    """
    if scheme not in SCHEMES:
        msg = f"There is no quantization '{scheme}'; one of {', '.join(SCHEMES)}."
        raise UsageError(msg, scheme=scheme)
    rows, columns = _matrix_shape(spec.shape)
    stored, dtype = rows, "float32"
    shape: tuple[int, ...] = (columns,)
    if scheme == "uint4":
        stored = math.ceil(rows / 2)
    elif scheme == "uint4-groups":
        number, size = row_groups(rows)
        stored, dtype, shape = math.ceil(number * size / 2), "float16", (number, columns)
    parts = {"codes": TensorSpec(spec.name, (stored, columns), "uint8")}
    for part in _PARTS[scheme]:
        own = (CODEBOOK_SIZE,) if part == "codebook" else shape
        parts[part] = TensorSpec(f"{spec.name}/{part}", own, dtype)
    return parts


def row_groups(rows: int) -> tuple[int, int]:
    """Return how many groups of rows have tables of their own, and the rows of each.

    Examples:
        >>> row_groups(1152), row_groups(80), row_groups(130)
        ((9, 128), (1, 80), (2, 65))
    """
    number = math.ceil(rows / _GROUP_ROWS)
    return number, math.ceil(rows / number)


def quantize(
    name: str,
    array: NDArray[np.floating],
    *,
    scheme: Scheme = "uint8",
    run: Callable[..., Iterable[Any]] = map,
) -> tuple[Quantized, CastReport]:
    """Code a tensor.

    `uint8`, `uint5` and `uint4` spread their 256, 32 or 16 levels evenly from the lowest to the
    highest value of each column, so that no value is off by more than half a level; `uint4-groups`
    does so for each run of at most 128 rows. Ranges are not clipped: on mixtures of experts and
    networks of YouTube-8M, ranges of least squared error lost two to three times as much GAP, for
    it is the few large weights that rank. The codebooks serve the whole
    tensor: `uint8-quantile` holds the means of 256 runs of equally many values in rising order,
    `uint8-kmeans` moves these until each is the mean of the values nearest to it (Lloyd 1982). They
    are fitted on at most 2^20 values, evenly spaced in the tensor; every value gets the nearest
    entry.

    Args:
        name: The tensor, for the report and messages.
        array: Its values, any shape and float dtype, at least one.
        scheme: How to code it.
        run: Runs a function over blocks: `map`, or the `map` of a pool of threads.

    Returns:
        Codes with tables, and what coding did: a value that was not zero and decodes to exactly 0
        counts as underflow, none is subnormal.

    Raises:
        CastOverflowError: If a value is not finite, or float16 tables cannot hold a group's range.

    Examples:
        >>> coded, report = quantize("w", np.array([[0.0], [1.0], [2.55]]))
        >>> coded.codes.ravel().tolist()  # levels are 2.55 / 255 apart
        [0, 100, 255]
        >>> dequantize(coded).ravel().astype(float).round(6).tolist()
        [0.0, 1.0, 2.55]
    """
    matrix = array.reshape(_matrix_shape(array.shape))
    lowest, highest = _find_ranges(name, matrix, run)
    if scheme == "uint4-groups":
        return _quantize_groups(name, array.shape, matrix, run)
    if "codebook" in _PARTS[scheme]:
        codebook = _fit_codebook(_sample(matrix), refine=scheme == "uint8-kmeans")
        tables = {"codebook": codebook}
        borders = (codebook[1:].astype(np.float64) + codebook[:-1]) / 2
    else:
        steps = _LEVELS[scheme] - 1
        scale, offset = ((highest - lowest) / steps).astype(np.float32), lowest.astype(np.float32)
        tables = {"scale": scale, "offset": offset}
    codes = np.empty(matrix.shape, np.uint8)

    def code(rows: slice) -> BlockErrors:
        block = matrix[rows]
        if "codebook" in tables:
            codes[rows] = np.searchsorted(borders, block)
        else:
            _to_levels(block, scale, offset, levels=_LEVELS[scheme], out=codes[rows])
        return _measure(block, _decode(codes[rows], tables))

    report = join_errors(name, list(run(code, _blocks(matrix))))
    stored = pack_nibbles(codes) if scheme == "uint4" else codes
    return Quantized(scheme, array.shape, stored, tables), report


def dequantize(quantized: Quantized) -> NDArray[np.floating]:
    """Return the tensor that the codes stand for, as a graph decodes it.

    Args:
        quantized: Codes and tables.

    Returns:
        float32, in the tensor's own shape.
    """
    rows, _ = _matrix_shape(quantized.shape)
    is_packed = quantized.scheme.startswith("uint4")
    codes = unpack_nibbles(quantized.codes, rows=rows) if is_packed else quantized.codes
    tables = quantized.tables
    if quantized.scheme == "uint4-groups":
        _, size = row_groups(rows)
        tables = {
            part: np.repeat(table.astype(np.float32), size, axis=0)[:rows]
            for part, table in tables.items()
        }
    return _decode(codes, tables).reshape(quantized.shape)


def pack_nibbles(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put two rows of 4-bit codes into one: the first half of the rows low, the second half high.

    With H = ceil(R / 2): `packed[h] = codes[h] + 16 * codes[H + h]`. Halves rather than neighbours
    are paired, so that a graph unpacks with one concatenation: `low = packed mod 16`,
    `high = packed div 16`, `codes = concat(low, high)[:R]`.

    Args:
        codes: Shape `(R, C)`, each in 0..15.

    Returns:
        Shape `(ceil(R / 2), C)`, uint8; an odd last row is paired with zeros.

    Examples:
        >>> pack_nibbles(np.array([[1], [2], [3]], np.uint8)).ravel().tolist()  # 1 + 16*3, 2
        [49, 2]
    """
    half = math.ceil(len(codes) / 2)
    packed = codes[:half].copy()
    packed[: len(codes) - half] |= codes[half:] << np.uint8(4)
    return packed


def unpack_nibbles(packed: NDArray[np.uint8], *, rows: int) -> NDArray[np.uint8]:
    """Undo `pack_nibbles`.

    Args:
        packed: Shape `(ceil(R / 2), C)`.
        rows: R.

    Returns:
        Shape `(R, C)`, each in 0..15.
    """
    return np.concatenate([packed & np.uint8(15), packed >> np.uint8(4)])[:rows]


def _quantize_groups(
    name: str,
    shape: tuple[int, ...],
    matrix: NDArray[np.floating],
    run: Callable[..., Iterable[Any]],
) -> tuple[Quantized, CastReport]:
    """Code a matrix in 4 bits, each group of rows by levels of its own.

    Returns:
        What `quantize` returns.

    Raises:
        CastOverflowError: If float16 cannot hold a group's lowest value or step.
    """
    rows, columns = matrix.shape
    number, size = row_groups(rows)
    codes = np.zeros((number * size, columns), np.uint8)
    tables = {part: np.empty((number, columns), np.float16) for part in ("scale", "offset")}
    largest = float(np.abs(matrix).max())

    def code(group: int) -> BlockErrors:
        place = slice(group * size, min((group + 1) * size, rows))
        block = matrix[place]
        with np.errstate(over="ignore"):
            offset = block.min(axis=0).astype(np.float16)
            width = block.max(axis=0).astype(np.float64) - offset
            scale = (np.maximum(width, 0) / (_LEVELS["uint4-groups"] - 1)).astype(np.float16)
        # Of dead units little is left, which may go; not of a tensor that is small everywhere.
        flat = (scale == 0) & (np.ptp(block, axis=0) > largest * _FLOAT16_STEP)
        lost = ~np.isfinite(scale) | ~np.isfinite(offset) | flat
        if lost.any():
            msg = (
                f"{int(lost.sum()):,} of {columns:,} columns of '{name}' have ranges that float16 "
                "tables cannot hold. Use `--quantize uint4`, whose tables are float32."
            )
            raise CastOverflowError(msg, name=name, count=int(lost.sum()), size=columns)
        tables["scale"][group], tables["offset"][group] = scale, offset
        wide = {"scale": scale.astype(np.float32), "offset": offset.astype(np.float32)}
        _to_levels(block, **wide, levels=_LEVELS["uint4-groups"], out=codes[place])
        return _measure(block, _decode(codes[place], wide))

    report = join_errors(name, list(run(code, range(number))))
    return Quantized("uint4-groups", shape, pack_nibbles(codes), tables), report


def _matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    columns = shape[-1] if len(shape) > 1 else 1
    return math.prod(shape) // columns, columns


def _blocks(matrix: NDArray[Any]) -> Iterator[slice]:
    step = max(_BLOCK_VALUES // matrix.shape[1], 1)
    for start in range(0, len(matrix), step):
        yield slice(start, start + step)


def _find_ranges(
    name: str, matrix: NDArray[np.floating], run: Callable[..., Iterable[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lowest and highest value of each column; refuse NaN and infinities.

    Returns:
        Two arrays of shape `(C,)`.

    Raises:
        CastOverflowError: If a value is not finite, which no level stands for.
    """
    lows, highs = zip(
        *run(lambda rows: (matrix[rows].min(axis=0), matrix[rows].max(axis=0)), _blocks(matrix)),
        strict=True,
    )
    lowest, highest = np.min(lows, axis=0), np.max(highs, axis=0)  # NaN stays NaN
    if not (np.isfinite(lowest).all() and np.isfinite(highest).all()):
        count = sum(int((~np.isfinite(matrix[rows])).sum()) for rows in _blocks(matrix))
        msg = (
            f"{count:,} of {matrix.size:,} values in '{name}' are not finite. "
            "Use an earlier checkpoint; training has diverged."
        )
        raise CastOverflowError(msg, name=name, count=count, size=matrix.size)
    return lowest.astype(np.float64), highest.astype(np.float64)


def _to_levels(
    block: NDArray[np.floating],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    *,
    levels: int,
    out: NDArray[np.uint8],
) -> None:
    # A column of one value has no scale; its offset alone decodes it.
    divisor = np.where(scale > 0, scale, np.float32(1))
    level = block - offset
    np.divide(level, divisor, out=level)
    np.rint(level, out=level)
    np.clip(level, 0, levels - 1, out=level)
    np.copyto(out, level, casting="unsafe")


def _measure(block: NDArray[np.floating], decoded: NDArray[np.floating]) -> BlockErrors:
    error = np.abs(decoded - block)
    is_zero = decoded == 0
    underflows = np.count_nonzero(block[is_zero]) if is_zero.any() else 0
    return BlockErrors(
        size=block.size,
        largest=max(float(block.max()), -float(block.min())),
        underflows=int(underflows),
        max_error=float(error.max()),
        error_sum=float(error.sum(dtype=np.float64)),
    )


def _decode(
    codes: NDArray[np.uint8], tables: Mapping[str, NDArray[np.floating]]
) -> NDArray[np.floating]:
    if "codebook" in tables:
        return tables["codebook"][codes]
    decoded: NDArray[np.floating] = codes.astype(np.float32)
    decoded *= tables["scale"]
    decoded += tables["offset"]
    return decoded


def _sample(matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return evenly spaced values of a tensor in rising order."""
    values = matrix.reshape(-1)
    step = math.ceil(values.size / _SAMPLE_VALUES)
    return np.sort(values[::step].astype(np.float64))


def _fit_codebook(values: NDArray[np.float64], *, refine: bool) -> NDArray[np.float32]:
    """Return 256 rising entries for values in rising order."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    starts = np.arange(CODEBOOK_SIZE + 1) * len(values) // CODEBOOK_SIZE
    entries = _means(sums, starts, fallback=values[np.minimum(starts[:-1], len(values) - 1)])
    for _ in range(_KMEANS_ROUNDS if refine else 0):
        borders = (entries[1:] + entries[:-1]) / 2
        starts = np.concatenate([[0], np.searchsorted(values, borders), [len(values)]])
        moved = _means(sums, starts, fallback=entries)
        if np.array_equal(moved, entries):
            break
        entries = moved
    return entries.astype(np.float32)


def _means(
    sums: NDArray[np.float64], starts: NDArray[np.int64], *, fallback: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean of each run of values; `fallback` where a run is empty."""
    counts = np.diff(starts)
    totals = sums[starts[1:]] - sums[starts[:-1]]
    return np.where(counts > 0, totals / np.maximum(counts, 1), fallback)
