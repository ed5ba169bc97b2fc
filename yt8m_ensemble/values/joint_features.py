"""The features that members of unlike features are fed with together, and each one's part of them.

Arithmetic on names and sizes only; `graphs.view_features` puts it into a graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from yt8m_ensemble.constants import MAX_FRAMES
from yt8m_ensemble.errors import ModelError
from yt8m_ensemble.values.flags import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

_MEAN: Final = "mean_"


def join_features(
    members: Mapping[str, FeatureSpec], *, records_hold_frames: bool = False
) -> FeatureSpec:
    """Return the union of what several models read.

    It is at frame level if one of them is. A model of the video level is then fed with means of
    frames, and reads `rgb` where it names `mean_rgb`, as the two kinds of YouTube-8M records do.
    Members that read most come first, so that most of them find their features in one piece.

    Args:
        members: What each model reads, by its name.
        records_hold_frames: Whether means are to be taken even if no model reads frames.

    Returns:
        Every feature once, with the most frames that a member keeps.

    Raises:
        ModelError: If one feature would have two sizes or two meanings.

    Examples:
        >>> video = FeatureSpec(("mean_rgb", "mean_audio"), (1024, 128), frame_level=False)
        >>> frame = FeatureSpec(("rgb",), (1024,), frame_level=True)
        >>> join_features({"a": video, "b": frame}).names
        ('rgb', 'audio')
    """
    is_frames = records_hold_frames or any(spec.frame_level for spec in members.values())
    order = sorted(members, key=lambda m: (not members[m].frame_level, -len(members[m].names)))
    sizes: dict[str, int] = {}
    owners: dict[str, str] = {}
    for member in order:
        spec = members[member]
        if len(set(_names(spec, is_frames=is_frames))) < len(set(spec.names)):
            msg = (
                f"'{member}' reads {', '.join(spec.names)} of the video level: two of them would "
                "be the mean of one frame-level feature. Leave it out."
            )
            raise ModelError(msg, member=member, features=spec.names)
        for name, size in zip(_names(spec, is_frames=is_frames), spec.sizes, strict=True):
            if sizes.setdefault(name, size) != size:
                msg = (
                    f"'{owners[name]}' reads {sizes[name]} values of the feature '{name}', "
                    f"'{member}' {size}. Members read the same records: leave one of them out."
                )
                raise ModelError(msg, members=(owners[name], member), feature=name)
            owners.setdefault(name, member)
    limits = [spec.max_frames for spec in members.values() if spec.frame_level]
    most = max(limits, default=MAX_FRAMES)
    return FeatureSpec(tuple(sizes), tuple(sizes.values()), is_frames, most)


def feature_ranges(own: FeatureSpec, joint: FeatureSpec) -> list[tuple[int, int]]:
    """Return where a model's features lie in a vector of the union, as few ranges as there are.

    Args:
        own: What the model reads.
        joint: The union.

    Returns:
        First value and the one after the last of each range, in the model's order.

    Examples:
        >>> joint = FeatureSpec(("rgb", "audio"), (1024, 128), frame_level=True)
        >>> feature_ranges(FeatureSpec(("mean_audio",), (128,), frame_level=False), joint)
        [(1024, 1152)]
        >>> feature_ranges(joint, joint)
        [(0, 1152)]
    """
    starts, end = {}, 0
    for name, size in zip(joint.names, joint.sizes, strict=True):
        starts[name] = end
        end += size
    ranges: list[tuple[int, int]] = []
    for name, size in zip(_names(own, is_frames=joint.frame_level), own.sizes, strict=True):
        start = starts[name]
        if ranges and ranges[-1][1] == start:
            ranges[-1] = (ranges[-1][0], start + size)
        else:
            ranges.append((start, start + size))
    return ranges


def _names(spec: FeatureSpec, *, is_frames: bool) -> tuple[str, ...]:
    """Return the names that a model's features have in records of the union's level."""
    if spec.frame_level or not is_frames:
        return spec.names
    return tuple(name.removeprefix(_MEAN) for name in spec.names)
