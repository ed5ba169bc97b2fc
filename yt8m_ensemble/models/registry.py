"""The table of architectures, and how a name and options become one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import tensorflow as tf

from yt8m_ensemble.errors import ModelError
from yt8m_ensemble.graphs import ModelGraph, from_tf_graph
from yt8m_ensemble.models.architecture import Architecture
from yt8m_ensemble.models.logistic import FrameLevelLogisticModel, LogisticModel
from yt8m_ensemble.models.moe import MoeModel
from yt8m_ensemble.models.netvlad import NetVLADModelLF
from yt8m_ensemble.models.tower import Declaration, GraphTower
from yt8m_ensemble.values import FeatureSpec, ModelFlags, Option

REGISTRY: Mapping[str, type[Architecture]] = {
    architecture.__name__: architecture
    for architecture in (
        LogisticModel,
        MoeModel,
        FrameLevelLogisticModel,
        NetVLADModelLF,
    )
}
"""Every architecture by its name in `model_flags.json` and on the command line."""


def make_model(
    name: str, options: Mapping[str, Any] | None = None, *, frame_level: bool | None = None
) -> Architecture:
    """Make an architecture from its name and options; those not given keep their defaults.

    Args:
        name: A key of `REGISTRY`.
        options: Values by option name; text is converted to the option's type.
        frame_level: Refuse an architecture of the other level; not checked if `None`.

    Returns:
        The architecture.

    Raises:
        ModelError: If the name, an option or a value is unknown, or the level does not fit.
    """
    if name not in REGISTRY:
        close = difflib.get_close_matches(name, REGISTRY, n=1, cutoff=0.0)[0]
        msg = f"There is no model '{name}'; did you mean '{close}'? Known: {', '.join(REGISTRY)}."
        raise ModelError(msg, model=name, nearest=close)
    architecture = REGISTRY[name]
    if frame_level is not None and architecture.frame_level != frame_level:
        wants, has = ("frame", "video") if architecture.frame_level else ("video", "frame")
        msg = (
            f"{name} reads {wants}-level features, but the features are {has}-level. "
            f"Set `--features {wants}`, or choose another `--model`."
        )
        raise ModelError(msg, model=name, frame_level=frame_level)
    types = {field.name: type(field.default) for field in fields(architecture)}  # type: ignore[arg-type]
    values = {}
    for key, value in (options or {}).items():
        if key not in types:
            close = difflib.get_close_matches(key, types, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else "."
            known = ", ".join(types) or "none"
            msg = f"{name} has no option '{key}'{hint} Its options: {known}."
            raise ModelError(msg, model=name, option=key)
        values[key] = _convert(name, key, value, types[key])
    return architecture(**values)


def model_options(model: Architecture) -> dict[str, Option]:
    """Return every option of an architecture with its value, as `model_flags.json` keeps them."""
    return asdict(model)  # type: ignore[call-overload,no-any-return]


def model_of_flags(flags: ModelFlags) -> Architecture:
    """Make the architecture that complete flags describe.

    Raises:
        ModelError: If the name or an option is unknown, or the level does not fit.
    """
    return make_model(flags.model, flags.options, frame_level=flags.features.frame_level)


def declare_variables(
    model: Architecture, features: FeatureSpec, num_classes: int
) -> dict[str, Declaration]:
    """List the variables that a model consists of, by checkpoint name, in order of use.

    Raises:
        ModelError: If the model cannot pool these features.
    """
    with tf.Graph().as_default():
        return _build(model, features, num_classes).declarations


def build_graph(flags: ModelFlags) -> ModelGraph:
    """Build the inference graph of a model.

    Placeholders `input_batch_raw` (dequantised features, `(B, F)` or `(B, T, F)` float32) and
    `num_frames` (`(B,)` int32) lead through the L2 normalisation and the model to `predictions`.

    Args:
        flags: What to build.

    Returns:
        The graph; its variables are named as in checkpoints, `tower/...`.

    Raises:
        ModelError: If the flags name no model or options that it does not have.
    """
    model = model_of_flags(flags)
    with tf.Graph().as_default() as graph:
        _build(model, flags.features, flags.num_classes)
    return from_tf_graph(
        graph, inputs="input_batch_raw:0", num_frames="num_frames:0", predictions="predictions:0"
    )


def _build(model: Architecture, features: FeatureSpec, num_classes: int) -> GraphTower:
    shape = (
        [None, None, features.total_size] if features.frame_level else [None, features.total_size]
    )
    inputs = tf.compat.v1.placeholder(tf.float32, shape, "input_batch_raw")
    num_frames = tf.compat.v1.placeholder(tf.int32, [None], "num_frames")
    tower = GraphTower()
    with tf.name_scope("model"):
        predictions = model(inputs, num_frames, tower, features=features, num_classes=num_classes)
    tf.identity(predictions, name="predictions")
    return tower


def _convert(model: str, key: str, value: tf.Tensor, wanted: type) -> Option:
    """Turn text or a number into the type of an option's default."""
    if wanted is bool and isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if isinstance(value, wanted) and (wanted is not int or not isinstance(value, bool)):
        return value  # type: ignore[no-any-return]
    convertible = wanted is not bool and not isinstance(value, bool)
    if convertible and isinstance(value, (int, float, str)):
        try:
            converted: Option = wanted(value)
        except ValueError:
            pass
        else:
            if isinstance(value, str) or converted == value:
                return converted
    msg = f"Option '{key}' of {model} must be {wanted.__name__}, not {value!r}."
    raise ModelError(msg, model=model, option=key, value=value)
