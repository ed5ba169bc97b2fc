"""What is known of a model without its weights: its features, classes and architecture options.

`ModelFlags` is the content of `model_flags.json`. Never opens a file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from yt8m_ensemble.constants import MAX_FEATURES, MAX_FRAME_LIMIT, MAX_FRAMES
from yt8m_ensemble.decoding import convert_json, decode_json
from yt8m_ensemble.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yt8m_ensemble.options.architectures import Option


@dataclass(frozen=True)
class FeatureSpec:
    """Features that a model reads, in their order, and their level.

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
        if self.total_size > MAX_FEATURES:
            msg = (
                f"Feature sizes {', '.join(map(str, self.sizes))} make {self.total_size:,} values, "
                f"at most {MAX_FEATURES:,} are read. Give the sizes that the records have."
            )
            raise ModelError(msg, sizes=self.sizes, limit=MAX_FEATURES)

    @property
    def total_size(self) -> int:
        """Values of one concatenated vector."""
        return sum(self.sizes)

    def to_flags(self) -> dict[str, Any]:
        """Return what `model_flags.json` says of it.

        The official readers know no frame limit but 300, so only another one stands there.
        """
        other_limit = self.frame_level and self.max_frames != MAX_FRAMES
        return {
            "feature_names": ",".join(self.names),
            "feature_sizes": ",".join(map(str, self.sizes)),
            "frame_features": self.frame_level,
            **({"max_frames": self.max_frames} if other_limit else {}),
        }

    @classmethod
    def parse(
        cls, names: str, sizes: str, *, frame_level: bool, max_frames: int = MAX_FRAMES
    ) -> FeatureSpec:
        """Return the spec of comma-separated text, e.g. `"rgb,audio"` and `"1024,128"`.

        Raises:
            ModelError: If a size is no whole number, or names and sizes do not pair up.
        """
        try:
            numbers = tuple(int(size) for size in sizes.split(","))
        except ValueError as error:
            msg = f"Feature sizes must be whole numbers such as 1024,128, not '{sizes}'."
            raise ModelError(msg, sizes=sizes) from error
        stripped = tuple(name.strip() for name in names.split(","))
        return cls(stripped, numbers, frame_level, max_frames if frame_level else MAX_FRAMES)


@dataclass(frozen=True)
class ModelFlags:
    """Contents of `model_flags.json`, with every field known.

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
                **self.features.to_flags(),
                "label_loss": self.label_loss,
                "num_classes": self.num_classes,
                **self.options,
            },
            indent=2,
        )


BASE_KEYS = frozenset(
    {
        "model", "feature_names", "feature_sizes", "frame_features", "max_frames", "label_loss",
        "num_classes",
    }
)  # fmt: skip
"""Keys of `model_flags.json` that are not architecture options."""


class _Flags(msgspec.Struct):
    """The keys of `model_flags.json` whose types the readers rely on; others may be anything."""

    feature_names: str
    feature_sizes: str | int
    frame_features: bool
    max_frames: Annotated[int, msgspec.Meta(ge=1, le=MAX_FRAME_LIMIT)] = MAX_FRAMES
    model: str = ""
    label_loss: str = ""
    num_classes: Annotated[int, msgspec.Meta(ge=1)] | None = None
    members: list[str] | None = None
    naming: str | None = None
    mix: str | None = None


_ADVICE = "Restore the file from the training run, or mend that key."


def parse_flags(data: str | bytes, *, path: str) -> dict[str, Any]:
    """Parse `model_flags.json` as it stands, possibly written by the starter code with fewer keys.

    Args:
        data: The file's content.
        path: Its path, for messages.

    Returns:
        The JSON object; the three feature keys are present.

    Raises:
        ModelError: If the text is no JSON object, or a key is missing or of the wrong type.
    """
    return check_flags(parse_object(data, path=path), path=path)


def parse_object(data: str | bytes, *, path: str) -> dict[str, Any]:
    """Parse a JSON object of flags without asking which keys it has.

    Args:
        data: The file's content.
        path: Its path, for messages.

    Returns:
        The object.

    Raises:
        ModelError: If the text is no JSON object.
    """
    return decode_json(data, dict[str, Any], path=path, error=ModelError, advice=_ADVICE)


def check_flags(flags: Mapping[str, Any], *, path: str) -> dict[str, Any]:
    """Return flags whose known keys have the right types.

    Args:
        flags: The JSON object.
        path: Where it stands, for messages.

    Raises:
        ModelError: If a key is missing or of the wrong type.
    """
    convert_json(flags, _Flags, path=path, error=ModelError, advice=_ADVICE)
    return dict(flags)


def parse_feature_spec(flags: Mapping[str, Any]) -> FeatureSpec:
    """Return the feature spec of parsed flags.

    Raises:
        ModelError: If names and sizes do not pair up.
    """
    return FeatureSpec.parse(
        str(flags["feature_names"]),
        str(flags["feature_sizes"]),
        frame_level=bool(flags["frame_features"]),
        max_frames=int(flags.get("max_frames", MAX_FRAMES)),
    )
