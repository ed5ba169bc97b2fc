"""Open models of unlike features, made to read one input.

Changes graphs only; opens no model and runs none.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from yt8m_ensemble.data import read_record_info
from yt8m_ensemble.errors import DataError
from yt8m_ensemble.graphs import view_features
from yt8m_ensemble.values import join_features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yt8m_ensemble.loading.model import OpenModel


def share_features(models: Sequence[OpenModel], records: Sequence[str] = ()) -> list[OpenModel]:
    """Let models read the union of their features.

    Models of the video level read frame-level records, too: the mean of each video's true frames.

    Args:
        models: Open models.
        records: Record files that they are to read, if that is known.

    Returns:
        The same models, as models of the union; those that read it already as they are.

    Raises:
        ModelError: If two give one feature different sizes.
    """
    specs = {model.name: model.features for model in models}
    hold_frames = not any(spec.frame_level for spec in specs.values()) and _hold_frames(records)
    joint = join_features(specs, records_hold_frames=hold_frames)
    return [
        model
        if model.features == joint
        else replace(model, graph=view_features(model.graph, model.features, joint), features=joint)
        for model in models
    ]


def describe_means(models: Sequence[OpenModel], shared: Sequence[OpenModel]) -> tuple[str, ...]:
    """Return a sentence on the models that are fed with means of frames, if there are any.

    Args:
        models: Open models.
        shared: What `share_features` made of them.
    """
    names = [
        f"'{model.name}'"
        for model, made in zip(models, shared, strict=True)
        if model.features.frame_level != made.features.frame_level
    ]
    return (f"Fed with the means of each video's frames: {', '.join(names)}.",) if names else ()


def _hold_frames(records: Sequence[str]) -> bool:
    """Return whether the first file with a record holds frames; reading tells what is wrong."""
    for path in records:
        with suppress(DataError):
            return read_record_info(path).frame_level
    return False
