"""The mixture inside a merged model: its weights, bias and temperature, as variables or constants.

Reads values; builds and runs no graph.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble.constants import BIAS_VARIABLE, MIXTURE_VARIABLE, TEMPERATURE_VARIABLE
from yt8m_ensemble.values import MixtureWeights, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.values import TensorSource


def read_mixture(
    flags: Mapping[str, Any], graph_def: Any, source: TensorSource
) -> MixtureWeights | None:
    """Read the mixture of a merged model.

    Args:
        flags: Its `model_flags.json`.
        graph_def: Its graph, for mixtures that are constants.
        source: Its checkpoint.

    Returns:
        The mixture; `None` if the model is a single one.
    """
    members = tuple(flags.get("members", ()))
    values = _value(MIXTURE_VARIABLE, graph_def, source)
    if values is None or not members:
        return None
    shared = values.reshape(len(members), -1).mean(axis=1).tolist()
    mixture = MixtureWeights.normalized(members, shared, space=flags["mix"])
    if values.ndim > 1:
        mixture = replace(mixture, class_values=tuple(map(tuple, values.tolist())))
    bias = _value(BIAS_VARIABLE, graph_def, source)
    if bias is not None and bias.any():
        mixture = replace(mixture, class_bias=tuple(bias.tolist()))
    temperature = _value(TEMPERATURE_VARIABLE, graph_def, source)
    if temperature is not None:
        mixture = replace(mixture, temperature=float(temperature))
    return mixture


def _value(name: str, graph_def: Any, source: TensorSource) -> NDArray[Any] | None:
    if name in source.specs():
        return source.read(name)
    for node in graph_def.node:
        if node.name == name and node.op == "Const":
            tensor = node.attr["value"].tensor
            shape = [dim.size for dim in tensor.tensor_shape.dim]
            values = np.frombuffer(tensor.tensor_content, "<f4")
            return np.resize(values if values.size else tensor.float_val, shape)
    return None


def find_mixture_constants(graph_def: Any) -> dict[str, TensorSpec]:
    """Return the parts of a mixture that are constants of a graph, by name.

    Args:
        graph_def: The graph.
    """
    names = (MIXTURE_VARIABLE, BIAS_VARIABLE, TEMPERATURE_VARIABLE)
    return {
        node.name: TensorSpec(
            node.name,
            tuple(int(dim.size) for dim in node.attr["value"].tensor.tensor_shape.dim),
            "float32",
        )
        for node in graph_def.node
        if node.name in names and node.op == "Const"
    }


def replace_mixture_constants(graph_def: Any, values: Mapping[str, NDArray[np.float32]]) -> None:
    """Put other values into constants of a graph.

    Args:
        graph_def: The graph, changed in place.
        values: By constant, values of its shape.
    """
    for node in graph_def.node:
        if node.name in values and node.op == "Const":
            tensor = node.attr["value"].tensor
            tensor.ClearField("float_val")
            tensor.tensor_content = np.ascontiguousarray(values[node.name], "<f4").tobytes()
