"""The table of architectures, and how a name and options become one."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from yt8m_ensemble.errors import ModelError
from yt8m_ensemble.models.dbof import DbofModel
from yt8m_ensemble.models.dbof_lf import DbofModelLF, GatedDbofModelLF, SoftDbofModelLF
from yt8m_ensemble.models.logistic import FrameLevelLogisticModel, LogisticModel
from yt8m_ensemble.models.mlp import MlpModel
from yt8m_ensemble.models.moe import MoeModel
from yt8m_ensemble.models.netfv import NetFVModelLF
from yt8m_ensemble.models.netvlad import NetVLADModelLF
from yt8m_ensemble.models.nextvlad import NeXtVLADModel
from yt8m_ensemble.models.recurrent import GruModel, LstmModel
from yt8m_ensemble.models.willow_netvlad import WillowNetVLADModelLF
from yt8m_ensemble.options import fields_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yt8m_ensemble.models.architecture import Architecture

REGISTRY: dict[str, type[Architecture]] = {
    architecture.__name__: architecture
    for architecture in (
        LogisticModel,
        MoeModel,
        MlpModel,
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


def register(architecture: type[Architecture]) -> type[Architecture]:
    """Add an architecture of your own, under its class's name; usable as a decorator.

    It then trains, averages, merges and is recognized as the built-in ones are.

    Args:
        architecture: A frozen dataclass that derives from `Architecture`.

    Returns:
        The class.

    Raises:
        ModelError: If another class has that name.
    """
    name = architecture.__name__
    if REGISTRY.setdefault(name, architecture) is not architecture:
        msg = f"There is an architecture '{name}' already. Give the class another name."
        raise ModelError(msg, model=name)
    return architecture


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
    known = fields_of(architecture)
    for key in options or {}:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            listed = ", ".join(known) or "none"
            msg = f"{name} has no option '{key}'{hint} Its options: {listed}."
            raise ModelError(msg, model=name, option=key)
    return architecture(**(options or {}))
