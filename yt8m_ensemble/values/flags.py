"""What is known of a model without its weights: its features, classes and architecture options.

`ModelFlags` is the content of `model_flags.json`. Never opens a file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from yt8m_ensemble.constants import MAX_FRAMES
from yt8m_ensemble.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

Option = bool | int | float | str
"""A value that an architecture option may take."""


@dataclass(frozen=True)
class FeatureSpec:
    """Say which features a model reads, in which order, and at which level.

    Args:
        names: Feature names as in the records, concatenated in this order.
        sizes: Values of each feature, e.g. `(1024, 128)`.
        frame_level: Whether the records hold one vector a frame (`tf.train.SequenceExample`).
        max_frames: Frames kept of a video; only used at frame level.

    Raises:
        ModelError: If names and sizes do not pair up.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    frame_level: bool
    max_frames: int = MAX_FRAMES

    def __post_init__(self) -> None:
        if not self.names or len(self.names) != len(self.sizes) or min(self.sizes) < 1:
            msg = (
                f"Feature names and sizes must pair up: {len(self.names)} names "
                f"({', '.join(self.names)}) but {len(self.sizes)} sizes "
                f"({', '.join(map(str, self.sizes))}). "
                "Give one size a name, as in `train --feature-names a,b --feature-sizes 6,2`."
            )
            raise ModelError(msg, names=self.names, sizes=self.sizes)

    @property
    def total_size(self) -> int:
        """Values of one concatenated vector."""
        return sum(self.sizes)

    @classmethod
    def parse(cls, names: str, sizes: str, *, frame_level: bool) -> FeatureSpec:
        """Return the spec of comma-separated text, e.g. `"rgb,audio"` and `"1024,128"`.

        Raises:
            ModelError: If a size is no whole number, or names and sizes do not pair up.
        """
        try:
            numbers = tuple(int(size) for size in sizes.split(","))
        except ValueError as error:
            msg = f"Feature sizes must be whole numbers such as 1024,128, not '{sizes}'."
            raise ModelError(msg, sizes=sizes) from error
        return cls(tuple(name.strip() for name in names.split(",")), numbers, frame_level)


@dataclass(frozen=True)
class ModelFlags:
    """Hold what `model_flags.json` holds, every field known.

    Args:
        model: Architecture name, e.g. `NetVLADModelLF`.
        features: What it reads.
        num_classes: Classes it predicts.
        label_loss: Name of the training loss.
        options: The architecture's own options by name.
    """

    model: str
    features: FeatureSpec
    num_classes: int
    label_loss: str = "CrossEntropyLoss"
    options: Mapping[str, Option] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the text of `model_flags.json`, with the keys that the official readers want."""
        return json.dumps(
            {
                "model": self.model,
                "feature_names": ",".join(self.features.names),
                "feature_sizes": ",".join(map(str, self.features.sizes)),
                "frame_features": self.features.frame_level,
                "label_loss": self.label_loss,
                "num_classes": self.num_classes,
                **self.options,
            },
            indent=2,
        )


BASE_KEYS = frozenset(
    {"model", "feature_names", "feature_sizes", "frame_features", "label_loss", "num_classes"}
)
"""Keys of `model_flags.json` that are not architecture options."""


def parse_flags(text: str, *, path: str) -> dict[str, Any]:
    """Parse `model_flags.json` as it stands, possibly written by the starter code with fewer keys.

    Args:
        text: The file's content.
        path: Its path, for messages.

    Returns:
        The JSON object; the three feature keys are present.

    Raises:
        ModelError: If the text is no JSON object or lacks a feature key.
    """
    try:
        flags = json.loads(text)
    except json.JSONDecodeError as error:
        msg = f"'{path}' is not JSON: {error}. Restore the file from the training run."
        raise ModelError(msg, path=path) from error
    if not isinstance(flags, dict):
        msg = f"'{path}' holds a {type(flags).__name__}, expected an object of flags."
        raise ModelError(msg, path=path)
    missing = [k for k in ("feature_names", "feature_sizes", "frame_features") if k not in flags]
    if missing:
        msg = f"'{path}' lacks {', '.join(missing)}. Add the keys that the model was trained with."
        raise ModelError(msg, path=path, missing=missing)
    return flags


def parse_feature_spec(flags: Mapping[str, Any]) -> FeatureSpec:
    """Return the feature spec of parsed flags.

    Raises:
        ModelError: If names and sizes do not pair up.
    """
    return FeatureSpec.parse(
        str(flags["feature_names"]),
        str(flags["feature_sizes"]),
        frame_level=bool(flags["frame_features"]),
    )
