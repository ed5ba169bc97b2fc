"""Compare the table of operations with the registry of the TensorFlow that runs this.

    python tests/graphs/list_operations.py

Prints operations that the table does not name, with what may tell their kind, and names in the
table that TensorFlow does not register. Whoever adds one reads what its kernel does first.
"""

from __future__ import annotations

import sys
from typing import Any

from tensorflow.core.framework import op_def_pb2
from tensorflow.python.client import pywrap_tf_session

from yt8m_ensemble.operation_policy import load_operation_policy


def registered() -> dict[str, Any]:
    """Return the definitions of all operations that TensorFlow registers, by name."""
    registry = op_def_pb2.OpList()
    registry.ParseFromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    return {op.name: op for op in registry.op}


def main() -> None:
    """Print what differs."""
    known, found = load_operation_policy(), registered()
    for name in sorted(found.keys() - known.keys()):
        definition = found[name]
        types = [argument.type for argument in (*definition.input_arg, *definition.output_arg)]
        state = "stateful" if definition.is_stateful else "stateless"
        sys.stdout.write(f"unclassified {name}: {state}, dtypes {types}, {definition.summary}\n")
    for name in sorted(known.keys() - found.keys()):
        sys.stdout.write(f"unknown to this TensorFlow: {name}\n")


if __name__ == "__main__":
    main()
