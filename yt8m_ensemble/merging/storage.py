"""How one weight is stored in a merged graph: its variables, and the nodes that decode them.

    float16   variable (half)            → cast
    uint8     codes, scale, offset       → scale * codes + offset, each output channel its own
    uint5     the same
    uint4     the same, two codes a byte → low halves, then high halves
    groups    codes as of uint4, scale and offset of each group of rows (half) → the same
    codebook  codes, 256 entries         → look up

Formulas as in `casting.quantization`, in float32. Holds no values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import tensorflow as tf

from yt8m_ensemble.casting import SCHEMES, plan_quantized, row_groups
from yt8m_ensemble.options.choices import Scheme
from yt8m_ensemble.values import TensorSpec

if TYPE_CHECKING:
    from tensorflow.core.framework.graph_pb2 import GraphDef

Storage = Literal["same", "float16"] | Scheme


def stored_parts(spec: TensorSpec, storage: Storage) -> dict[str, TensorSpec]:
    """Return by part the tensors that store a weight; `""` is the part that bears its name."""
    if storage in SCHEMES:
        parts = plan_quantized(spec, storage)
        return {"" if part == "codes" else part: stored for part, stored in parts.items()}
    dtype = "float16" if storage == "float16" else spec.dtype
    return {"": TensorSpec(spec.name, spec.shape, dtype)}


def decoder(spec: TensorSpec, storage: Storage) -> tuple[GraphDef, str]:
    """Build the variables of a stored weight and what decodes them to float32.

    Args:
        spec: The weight: its name in the merged graph, its own shape.
        storage: How it is stored; not `same`.

    Returns:
        The nodes, and the name of the one that gives the weight.
    """
    raw = tf.raw_ops
    graph = tf.Graph()
    with graph.as_default():
        stored = {
            part: raw.VariableV2(shape=own.shape, dtype=own.dtype, name=own.name)
            for part, own in stored_parts(spec, storage).items()
        }
        with tf.name_scope(f"{spec.name}/decode/"):
            if storage == "float16":
                weight = raw.Cast(x=stored[""], DstT=tf.float32, name="float32")
            else:
                codes = _codes(stored[""], spec, storage)
                if "codebook" in stored:
                    weight = raw.Gather(params=stored["codebook"], indices=codes)
                elif storage == "uint4-groups":
                    weight = _of_groups(codes, stored, spec)
                else:
                    levels = raw.Mul(x=raw.Cast(x=codes, DstT=tf.float32), y=stored["scale"])
                    weight = raw.Add(x=levels, y=stored["offset"])
                weight = raw.Reshape(tensor=weight, shape=list(spec.shape), name="float32")
    return graph.as_graph_def(), weight.op.name


def _of_groups(codes: tf.Tensor, stored: dict[str, tf.Tensor], spec: TensorSpec) -> tf.Tensor:
    """Return the weight as a matrix `(R, C)`, of codes of whole groups."""
    raw = tf.raw_ops
    rows, columns = _matrix_shape(spec)
    number, size = row_groups(rows)
    scale, offset = (
        raw.Reshape(tensor=raw.Cast(x=stored[part], DstT=tf.float32), shape=[number, 1, columns])
        for part in ("scale", "offset")
    )
    levels = raw.Cast(x=raw.Reshape(tensor=codes, shape=[number, size, columns]), DstT=tf.float32)
    grouped = raw.Add(x=raw.Mul(x=levels, y=scale), y=offset)
    padded = raw.Reshape(tensor=grouped, shape=[number * size, columns])
    return raw.Slice(input=padded, begin=[0, 0], size=[rows, columns])


def _codes(stored: tf.Tensor, spec: TensorSpec, storage: Storage) -> tf.Tensor:
    """Return the codes as int32, shape `(R, C)`, or of whole groups of rows.

    Integer division is not known for bytes.
    """
    raw = tf.raw_ops
    codes = raw.Cast(x=stored, DstT=tf.int32)
    rows, columns = _matrix_shape(spec)
    if storage == "uint4-groups":
        number, size = row_groups(rows)
        rows = number * size
    elif storage != "uint4":
        return codes
    low, high = raw.FloorMod(x=codes, y=16), raw.FloorDiv(x=codes, y=16)
    both = raw.ConcatV2(values=[low, high], axis=0)
    return raw.Slice(input=both, begin=[0, 0], size=[rows, columns])


def _matrix_shape(spec: TensorSpec) -> tuple[int, int]:
    columns = spec.shape[-1] if len(spec.shape) > 1 else 1
    return spec.size // columns, columns
