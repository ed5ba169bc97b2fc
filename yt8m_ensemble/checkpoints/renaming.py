"""Change the tensors of a file by name: rename, drop, keep, cast, in this order. Opens no file.

`plan_changes` says what becomes of each tensor without reading one; `EditedSource` reads them so.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from yt8m_ensemble.casting import cast_to_float16
from yt8m_ensemble.checkpoints.object_graph import OBJECT_GRAPH, rename_in_object_graph
from yt8m_ensemble.errors import TensorMismatchError, UsageError
from yt8m_ensemble.values.dtypes import NUMPY_DTYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.values import TensorSource, TensorSpec

CASTS = ("float16", "bfloat16", "float32", "float64")
"""Dtypes that floats may be cast to."""

_ARROW = "=>"


@dataclass(frozen=True)
class Change:
    """Fate of one tensor.

    Args:
        name: Its name in the source.
        new_name: Its name in the output; `None` if it is dropped.
        action: `keep`, `rename`, `drop` or `cast`; a tensor may be renamed as well as cast.
        dtype: Its dtype in the output, or in the source if it is dropped.
    """

    name: str
    new_name: str | None
    action: Literal["keep", "rename", "drop", "cast"]
    dtype: str


def plan_changes(
    specs: Mapping[str, TensorSpec],
    *,
    rename: Sequence[str] = (),
    drop: Sequence[str] = (),
    keep: Sequence[str] = (),
    cast: Mapping[str, str] | None = None,
) -> list[Change]:
    """Plan what becomes of each tensor.

    The object graph of a TensorFlow 2 checkpoint stays, and follows the others.

    Args:
        specs: The tensors of the source by name.
        rename: `REGEX=>NEW`, one after the other; a name is renamed where the whole of it matches,
            and `NEW` may refer to groups.
        drop: Globs of new names to leave out.
        keep: Globs of new names, of which one must match; none keeps all.
        cast: Dtype by glob of new names; only floats are cast.

    Returns:
        A change for every tensor, in the order of `specs`.

    Raises:
        UsageError: If an expression is none, or matches nothing.
        TensorMismatchError: If two tensors would have one name.
    """
    cast = cast or {}
    names = {name: name for name in specs if name != OBJECT_GRAPH}
    for text in rename:
        names = _renamed(names, text)
    globs = {"--drop": drop, "--keep": keep, "--cast": tuple(cast)}
    for flag, patterns in globs.items():
        for pattern in patterns:
            _check_used(pattern, flag, list(names.values()))
    changes = []
    for name, spec in specs.items():
        new = names.get(name, name)
        is_own = name == OBJECT_GRAPH
        if not is_own and (_matches(new, drop) or (keep and not _matches(new, keep))):
            changes.append(Change(name, None, "drop", spec.dtype))
            continue
        wanted = [dtype for glob, dtype in cast.items() if fnmatchcase(new, glob)]
        is_cast = bool(wanted) and spec.dtype in CASTS and wanted[-1] != spec.dtype
        action: Literal["cast", "rename", "keep"] = (
            "cast" if is_cast else "keep" if new == name else "rename"
        )
        changes.append(Change(name, new, action, wanted[-1] if is_cast else spec.dtype))
    _check_collisions(changes)
    return changes


class EditedSource:
    """The tensors of a source as changed, read one by one.

    Args:
        source: The source.
        changes: What `plan_changes` made of it.
    """

    def __init__(self, source: TensorSource, changes: Sequence[Change]) -> None:
        self._source = source
        kept = {change.new_name: change for change in changes if change.new_name is not None}
        self._changes = {name: kept[name] for name in sorted(kept)}
        self._names = {change.name: change.new_name for change in changes}

    def specs(self) -> Mapping[str, TensorSpec]:
        """Return the description of every tensor that is left, by new name, in sorted order."""
        specs = self._source.specs()
        return {
            name: replace(specs[change.name], name=name, dtype=change.dtype)
            for name, change in self._changes.items()
        }

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor by its new name, cast if it is to be.

        Raises:
            CastOverflowError: If a value does not fit float16.
        """
        change = self._changes[name]
        values = self._source.read(change.name)
        if name == OBJECT_GRAPH:
            return np.array(rename_in_object_graph(np.asarray(values).item(), self._names), object)
        if change.dtype == self._source.specs()[change.name].dtype:
            return values
        if change.dtype == "float16":
            is_ieee = values.dtype.kind == "f"  # unlike bfloat16
            whole = values if is_ieee else values.astype(np.float32)
            half, _ = cast_to_float16(name, whole)
            return half
        return values.astype(NUMPY_DTYPES[change.dtype])


def _renamed(names: Mapping[str, str], text: str) -> dict[str, str]:
    """Return new names by old ones after one more renaming.

    Raises:
        UsageError: If it is no renaming, or renames nothing.
    """
    pattern, arrow, new = text.partition(_ARROW)
    if not arrow or not pattern or not new:
        msg = f"`--rename`: '{text}' is not REGEX=>NEW, such as `--rename 'tower/(.*)=>net/\\1'`."
        raise UsageError(msg, rename=text)
    try:
        found = {key: re.fullmatch(pattern, name) for key, name in names.items()}
        renamed = {key: match.expand(new) if match else names[key] for key, match in found.items()}
    except (re.error, IndexError, RecursionError, OverflowError) as error:
        msg = f"`--rename`: '{text}' is no regular expression and its replacement: {error}."
        raise UsageError(msg, rename=text, reason=str(error)) from error
    if not any(found.values()):
        _refuse_unused(pattern, "--rename", list(names.values()))
    return renamed


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_used(pattern: str, flag: str, names: Sequence[str]) -> None:
    """Refuse a glob that matches nothing: it is a slip of the pen.

    Raises:
        UsageError: If it does not.
    """
    if not any(fnmatchcase(name, pattern) for name in names):
        _refuse_unused(pattern, flag, names)


def _refuse_unused(pattern: str, flag: str, names: Sequence[str]) -> None:
    """Refuse an expression that matches no tensor.

    Raises:
        UsageError: Always.
    """
    shown = ", ".join(f"'{name}'" for name in names[:3]) or "none"
    msg = f"`{flag}`: '{pattern}' matches none of the {len(names)} tensors, such as {shown}."
    raise UsageError(msg, option=flag, pattern=pattern, found=tuple(names))


def _check_collisions(changes: Sequence[Change]) -> None:
    """Refuse two tensors of one name.

    Raises:
        TensorMismatchError: If there are two.
    """
    counts = Counter(change.new_name for change in changes if change.new_name is not None)
    for name, count in counts.items():
        if count > 1:
            both = [change.name for change in changes if change.new_name == name]
            more = f"; {count - 2} more" if count > 2 else ""  # noqa: PLR2004 - the two named
            msg = (
                f"'{both[0]}' and '{both[1]}' would both be called '{name}'{more}. Change the "
                "expression, or drop one, as with `yt8m-ens edit --drop`."
            )
            raise TensorMismatchError(msg, name=name, sources=tuple(both))
