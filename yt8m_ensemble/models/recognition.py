"""Find out from the variables of a checkpoint which architecture it belongs to.

`model_flags.json` of the originals lacks options and may name the wrong model; the variables
cannot lie about either.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from yt8m_ensemble.errors import ModelError
from yt8m_ensemble.models.graph import declare_variables
from yt8m_ensemble.models.registry import REGISTRY, make_model
from yt8m_ensemble.models.tower import SCOPE
from yt8m_ensemble.options.architectures import model_options
from yt8m_ensemble.values import BASE_KEYS, FeatureSpec, ModelFlags, TensorSpec, parse_feature_spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yt8m_ensemble.models.architecture import Architecture, Shapes

TRAINING_SUFFIXES = (
    "/Adam", "/Adam_1", "/Adagrad", "/RMSProp", "/RMSProp_1", "/Momentum",
    "/ExponentialMovingAverage",
)  # fmt: skip
"""Slots that optimizers keep beside a variable."""

_SHOWN = 4


def recognize(
    specs: Mapping[str, TensorSpec],
    raw_flags: Mapping[str, Any],
    *,
    architecture: str | None = None,
) -> ModelFlags:
    """Complete the flags of a checkpoint from its variables.

    An architecture is recognised when the variables that it would declare are exactly those of the
    checkpoint, names and shapes. Options that leave no trace in the variables (penalties, frames
    drawn while training, `gating_remove_diag`, a pooling method) come from the flags, otherwise
    they are the originals' defaults.

    Args:
        specs: The checkpoint's tensors; optimizer slots and counters are ignored.
        raw_flags: `model_flags.json` as it stands; only its feature keys must be there.
        architecture: Take this one, if its variables fit.

    Returns:
        Complete flags.

    Raises:
        ModelError: If no architecture, or more than one, has these variables, or the flags
            contradict them.
    """
    features = parse_feature_spec(raw_flags)
    shapes = model_shapes(specs)
    if architecture is not None:
        make_model(architecture)  # refuses an unknown name
    candidates = [architecture] if architecture else list(REGISTRY)
    fits = {
        name: found for name in candidates if (found := _fit(name, shapes, features, raw_flags))
    }
    if not fits:
        msg = _describe_unrecognized(shapes, features, architecture)
        raise ModelError(msg, architecture=architecture, variables=tuple(shapes))
    named = str(raw_flags.get("model"))
    if len(fits) > 1 and named not in fits:
        msg = (
            f"The variables fit {' and '.join(fits)}, and `model_flags.json` names '{named}'. "
            "Set `model` there, or override it, as with `yt8m-ens merge --architecture`."
        )
        raise ModelError(msg, candidates=tuple(fits), model=named)
    name = named if named in fits else next(iter(fits))
    num_classes, model = fits[name]
    stated = raw_flags.get("num_classes", num_classes)
    if stated != num_classes:
        msg = (
            f"`model_flags.json` says {stated} classes, but the variables of {name} have "
            f"{num_classes}. Take the flags file from the checkpoint's own training run."
        )
        raise ModelError(msg, stated=stated, num_classes=num_classes)
    return ModelFlags(
        name,
        features,
        num_classes,
        str(raw_flags.get("label_loss", "CrossEntropyLoss")),
        model_options(model),
    )


def model_shapes(specs: Mapping[str, TensorSpec]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of model variables by their name below `tower/`."""
    prefix = f"{SCOPE}/"
    return {
        name.removeprefix(prefix): spec.shape
        for name, spec in specs.items()
        if name.startswith(prefix) and not name.endswith(TRAINING_SUFFIXES)
    }


def _fit(
    name: str, shapes: Shapes, features: FeatureSpec, raw_flags: Mapping[str, Any]
) -> tuple[int, Architecture] | None:
    """Return classes and model if the architecture declares exactly these variables."""
    kind = REGISTRY[name]
    if kind.frame_level != features.frame_level:
        return None
    try:
        num_classes, inferred = kind.infer(shapes)
    except (KeyError, IndexError):
        return None
    known = {field.name for field in fields(kind)}
    stated = {key: raw_flags[key] for key in known - BASE_KEYS if key in raw_flags}
    # What the variables show outranks what the file says.
    model = make_model(name, {**stated, **inferred})
    try:
        declared = declare_variables(model, features, num_classes)
    except (ModelError, ValueError, ZeroDivisionError):
        return None
    wanted = {key.removeprefix(f"{SCOPE}/"): item.shape for key, item in declared.items()}
    return (num_classes, model) if wanted == shapes else None


def _describe_unrecognized(shapes: Shapes, features: FeatureSpec, architecture: str | None) -> str:
    level = "frame" if features.frame_level else "video"
    shown = ", ".join(f"{name} {shape}" for name, shape in list(shapes.items())[:_SHOWN])
    more = f", and {len(shapes) - _SHOWN} more" if len(shapes) > _SHOWN else ""
    wanted = f"not those of {architecture}" if architecture else f"of no known {level}-level model"
    return (
        f"The variables below `tower/` are {wanted} on {features.total_size} features: "
        f"{shown or 'none'}{more}. Check `feature_names`, `feature_sizes` and `frame_features` "
        "in `model_flags.json`."
    )
