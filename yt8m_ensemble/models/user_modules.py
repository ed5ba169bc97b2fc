"""Python files of a user's own, run for what they register. Nothing else of them is looked at."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from yt8m_ensemble.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable


def import_files(paths: Iterable[str]) -> None:
    """Run Python files as modules, each once a process.

    Args:
        paths: The files.

    Raises:
        UsageError: If one is not there, or raises an error.
    """
    for path in paths:
        _import_file(str(Path(path).resolve()))


@functools.cache
def _import_file(path: str) -> None:
    """Run one file.

    Raises:
        UsageError: If it is not there, or raises an error.
    """
    name = f"yt8m_ensemble_user.{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, path) if Path(path).is_file() else None
    if spec is None or spec.loader is None:
        msg = f"`--import` wants a Python file, '{path}' is none. Check the path."
        raise UsageError(msg, option="--import", path=path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        msg = f"`--import` of '{path}' fails: {type(error).__name__}: {error}. Mend that file."
        raise UsageError(msg, option="--import", path=path) from error
