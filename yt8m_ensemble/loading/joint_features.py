"""Open models of unlike features, made to read one input.

Changes graphs only; opens nothing and runs nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from yt8m_ensemble.graphs import view_features
from yt8m_ensemble.values import join_features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yt8m_ensemble.loading.model import OpenModel


def share_features(models: Sequence[OpenModel]) -> list[OpenModel]:
    """Let models read the union of their features.

    Args:
        models: Open models.

    Returns:
        The same models, as models of the union; those that read it already as they are.

    Raises:
        ModelError: If two give one feature different sizes.
    """
    joint = join_features({model.name: model.features for model in models})
    return [
        model
        if model.features == joint
        else replace(model, graph=view_features(model.graph, model.features, joint), features=joint)
        for model in models
    ]
