"""Write the table of operations and attributes that a TensorFlow 1.x knows; runs under Python 3.7.

    python make_operation_table.py > yt8m_ensemble/packaging/tensorflow_1_14.json

Lists every operation in the registry of the TensorFlow that runs it. Each attribute is written as
its type, then `?` if it has a default, then `:` and the values allowed if they are limited (dtypes
by their number in `types.proto`).
"""

from __future__ import annotations

import json
import sys
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.python import pywrap_tensorflow


def main() -> None:
    """Write the table to standard output, one operation a line."""
    registry = op_def_pb2.OpList()
    registry.ParseFromString(pywrap_tensorflow.TF_GetBuffer(pywrap_tensorflow.TF_GetAllOpList()))
    lines = [
        f"    {json.dumps(op.name)}: {json.dumps({a.name: describe(a) for a in op.attr})}"
        for op in sorted(registry.op, key=lambda op: op.name)
    ]
    header = {
        "made": f"by tests/interop/make_operation_table.py from the registry of {tf.__version__}",
        "tensorflow": tf.__version__,
        "graph_version": tf.GRAPH_DEF_VERSION,
    }
    text = json.dumps(header, indent=2)[:-2] + ',\n  "operations": {\n'
    sys.stdout.write(text + ",\n".join(lines) + "\n  }\n}\n")


def describe(attribute: Any) -> str:
    """Return an attribute's type, `?` for a default, and the values it is limited to."""
    allowed = attribute.allowed_values.list
    values = sorted(allowed.type) or sorted(value.decode() for value in allowed.s)
    text = str(attribute.type) + ("?" if attribute.HasField("default_value") else "")
    return text + (":" + ",".join(map(str, values)) if values else "")


if __name__ == "__main__":
    main()
