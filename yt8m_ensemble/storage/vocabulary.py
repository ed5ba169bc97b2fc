"""Names of classes from the vocabulary file of YouTube-8M, or one like it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

_COLUMNS = ("Index", "Name")


def read_vocabulary(path: str | None) -> dict[int, str]:
    """Read the names of classes.

    Args:
        path: A CSV file with a header in which `Index` and `Name` stand; `None` names no class.

    Returns:
        Name by class; a class without one is left out.

    Raises:
        DataError: If there is no such file, a column is absent, or an index is none or comes twice.
    """
    if path is None:
        return {}
    if not files.exists(path):
        msg = f"No vocabulary at '{path}'. Check the path given to `--vocabulary`."
        raise DataError(msg, path=path)
    files.check_regular(path)
    rows = files.read_csv(path)
    _, header = next(rows, (0, []))
    names = [name.strip() for name in header]
    if not set(_COLUMNS) <= set(names):
        msg = (
            f"'{path}' must have columns {' and '.join(f'`{name}`' for name in _COLUMNS)}; its "
            f"first line names {', '.join(names)[:200] or 'none'}. Use the vocabulary.csv of "
            "YouTube-8M, or a file like it."
        )
        raise DataError(msg, path=path, found=names)
    index, name = (names.index(column) for column in _COLUMNS)
    found: dict[int, str] = {}
    for line, fields in rows:
        if not any(fields):
            continue
        text = fields[index].strip() if len(fields) > max(index, name) else ""
        if not (text.isascii() and text.isdecimal() and len(text) < len(str(10**9))):
            msg = f"Line {line} of '{path}' has no class in column `Index`. Write a whole number."
            raise DataError(msg, path=path, line=line)
        if int(text) in found:
            msg = f"Line {line} of '{path}' names class {int(text)} again. Keep one line a class."
            raise DataError(msg, path=path, line=line, class_id=int(text))
        found[int(text)] = fields[name].strip()
    return {class_id: name for class_id, name in found.items() if name}


def describe_class(class_id: int, names: Mapping[int, str]) -> str:
    """Return a class with its name, if it has one.

    Examples:
        >>> describe_class(34, {34: "Guitar"}), describe_class(35, {})
        ('34 Guitar', '35')
    """
    return f"{class_id} {names[class_id]}" if class_id in names else str(class_id)
