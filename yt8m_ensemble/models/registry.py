"""The table of architectures, and how a name and options become one."""

from __future__ import annotations

import difflib
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from yt8m_ensemble.errors import ModelError
from yt8m_ensemble.models.dbof import DbofModel
from yt8m_ensemble.models.dbof_lf import DbofModelLF, GatedDbofModelLF, SoftDbofModelLF
from yt8m_ensemble.models.logistic import FrameLevelLogisticModel, LogisticModel
from yt8m_ensemble.models.moe import MoeModel
from yt8m_ensemble.models.netfv import NetFVModelLF
from yt8m_ensemble.models.netvlad import NetVLADModelLF
from yt8m_ensemble.models.nextvlad import NeXtVLADModel
from yt8m_ensemble.models.recurrent import GruModel, LstmModel
from yt8m_ensemble.models.willow_netvlad import WillowNetVLADModelLF

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yt8m_ensemble.models.architecture import Architecture
    from yt8m_ensemble.values import Option

REGISTRY: Mapping[str, type[Architecture]] = {
    architecture.__name__: architecture
    for architecture in (
        LogisticModel,
        MoeModel,
        FrameLevelLogisticModel,
        DbofModel,
        LstmModel,
        GruModel,
        NetVLADModelLF,
        WillowNetVLADModelLF,
        NetFVModelLF,
        DbofModelLF,
        SoftDbofModelLF,
        GatedDbofModelLF,
        NeXtVLADModel,
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
            f"Choose another model, or train with `yt8m-ens train --features {wants}`."
        )
        raise ModelError(msg, model=name, frame_level=frame_level)
    types = {field.name: type(field.default) for field in fields(architecture)}
    values = {}
    for key, value in (options or {}).items():
        if key not in types:
            near = difflib.get_close_matches(key, types, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            known = ", ".join(types) or "none"
            msg = f"{name} has no option '{key}'{hint} Its options: {known}."
            raise ModelError(msg, model=name, option=key)
        values[key] = convert_option(name, key, value, types[key])
    return architecture(**values)


def model_options(model: Architecture) -> dict[str, Option]:
    """Return every option of an architecture with its value, as `model_flags.json` keeps them."""
    return asdict(model)


def convert_option(owner: str, key: str, value: Any, wanted: type) -> Option:
    """Return text or a number as the type of an option's default.

    Args:
        owner: What has the option, for the message.
        key: The option's name, for the message.
        value: What was given.
        wanted: `bool`, `int`, `float` or `str`.

    Raises:
        ModelError: If the value cannot be of that type without loss.

    Examples:
        >>> convert_option("MoeModel", "moe_num_mixtures", "3", int)
        3
    """
    if wanted is bool and isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if isinstance(value, wanted) and (wanted is not int or not isinstance(value, bool)):
        return value  # type: ignore[return-value]
    convertible = wanted is not bool and not isinstance(value, bool)
    if convertible and isinstance(value, (int, float, str)):
        try:
            converted: Option = wanted(value)
        except ValueError:
            pass
        else:
            if isinstance(value, str) or converted == value:
                return converted
    msg = f"Option '{key}' of {owner} must be {wanted.__name__}, not {value!r}."
    raise ModelError(msg, owner=owner, option=key, value=value)
