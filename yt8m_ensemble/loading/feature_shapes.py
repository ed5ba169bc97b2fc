"""What a model reads and predicts where only the shapes of its graph tell."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from yt8m_ensemble.constants import FEATURE_SIZES
from yt8m_ensemble.errors import ModelError
from yt8m_ensemble.values import FeatureSpec, parse_feature_spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yt8m_ensemble.graphs import ModelGraph
    from yt8m_ensemble.options import ModelOptions

_UNNAMED = "features"
_VIDEO, _FRAMES = 2, 3


def read_features(
    graph: ModelGraph, flags: Mapping[str, Any] | None, options: ModelOptions, *, path: str
) -> FeatureSpec:
    """Return what an exported graph reads: as its flags, else its input's shape and options tell.

    Where the size is that of YouTube-8M features, they are meant; other features without a name are
    called `features`.

    Args:
        graph: The graph.
        flags: Its `model_flags.json`, if there is one.
        options: Names and sizes of features.
        path: Where it is from, for messages.

    Raises:
        ModelError: If neither tells, or they contradict each other.
    """
    shape = graph.input_shape
    if flags is not None:
        return _checked(parse_feature_spec(flags), shape, path=path)
    if shape is None or len(shape) not in {_VIDEO, _FRAMES}:
        msg = (
            f"'{path}' takes batches of shape {shape or 'unknown'}, expected (B, F) for videos or "
            "(B, T, F) for frames. Export it with such an input, or put a `model_flags.json` "
            "beside it."
        )
        raise ModelError(msg, path=path, shape=shape)
    frame_level = len(shape) == _FRAMES
    total = shape[-1]
    known = ("rgb", "audio") if frame_level else ("mean_rgb", "mean_audio")
    names = options.feature_names or _known_names(total, known)
    sizes = options.feature_sizes or _known_sizes(total, names.split(","))
    if sizes is None:
        msg = (
            f"The shapes in '{path}' do not tell how the {total or '?'} values of its input divide "
            f"into {names}. Give them, as with `yt8m-ens merge --feature-sizes`."
        )
        raise ModelError(msg, path=path, names=names, total=total)
    spec = FeatureSpec.parse(names, sizes, frame_level=frame_level)
    if total is not None and spec.total_size != total:
        msg = (
            f"'{path}' takes {total} values, but features of {sizes} make {spec.total_size}. Give "
            "others, as with `yt8m-ens merge --feature-sizes`."
        )
        raise ModelError(msg, path=path, expected=total, found=spec.total_size)
    return replace(spec, max_frames=shape[1] or spec.max_frames) if frame_level else spec


def _checked(spec: FeatureSpec, shape: tuple[int | None, ...] | None, *, path: str) -> FeatureSpec:
    """Return what flags say, if a graph can read it.

    Raises:
        ModelError: If its input has another rank or size.
    """
    wanted = (None, *((spec.max_frames,) if spec.frame_level else ()), spec.total_size)
    if shape is not None and (
        len(shape) != len(wanted) or shape[-1] not in {None, spec.total_size}
    ):
        level = "frame" if spec.frame_level else "video"
        msg = (
            f"'{path}' takes batches of shape {shape}, but its flags say {level} level, "
            f"{', '.join(spec.names)} of {spec.total_size} values. Mend its `model_flags.json`."
        )
        raise ModelError(msg, path=path, shape=shape, expected=wanted)
    return spec


def read_num_classes(
    graph: ModelGraph, flags: Mapping[str, Any] | None, given: int | None, *, path: str
) -> int:
    """Return the classes of an exported graph: as given, as its flags or its shape tell.

    Args:
        graph: The graph.
        flags: Its `model_flags.json`, if there is one.
        given: The number that the user gave.
        path: Where it is from, for messages.

    Raises:
        ModelError: If nothing tells, or the graph's shape says another number.
    """
    known = given or (flags or {}).get("num_classes") or graph.num_classes
    if known is None:
        msg = (
            f"The files of '{path}' do not tell its number of classes. Add `num_classes` to its "
            "`model_flags.json`, or pass it, as with `yt8m-ens predict --num-classes`."
        )
        raise ModelError(msg, path=path)
    if graph.num_classes not in {None, known}:
        whose = "the number given is" if given else "its `model_flags.json` says"
        msg = (
            f"'{path}' predicts {graph.num_classes} classes, but {whose} {known}. Mend that, or "
            "leave it out."
        )
        raise ModelError(msg, path=path, expected=graph.num_classes, found=known)
    return int(known)


def _known_names(total: int | None, names: tuple[str, ...]) -> str:
    found = {
        sum(FEATURE_SIZES[name] for name in chosen): chosen
        for chosen in (names, names[:1], names[1:])
    }
    return ",".join(found.get(total or 0, (_UNNAMED,)))


def _known_sizes(total: int | None, names: list[str]) -> str | None:
    sizes = [FEATURE_SIZES.get(name) for name in names]
    if None not in sizes and total in {None, sum(size or 0 for size in sizes)}:
        return ",".join(map(str, sizes))
    return str(total) if total and len(names) == 1 else None
