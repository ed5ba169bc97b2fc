"""Average, merge, weigh and package YouTube-8M video classifiers as one float16 graph.

The Python API: each command's function, its options, and the values they exchange. The names stand
once, in `__init__.pyi`, for type checkers and for this module, which loads each on first use, so
that importing the package costs nothing.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

__version__ = "0.2.0"


@lru_cache(maxsize=1)
def _homes() -> dict[str, str]:
    """Return the module of each public name, as the stub says."""
    import ast
    from pathlib import Path

    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def __getattr__(name: str) -> Any:
    """Return a public name from its room, loaded now (PEP 562).

    Raises:
        AttributeError: If there is no such name.
    """
    if name == "__all__":
        return sorted(_homes())
    if name.startswith("__") or name not in _homes():
        msg = f"'yt8m_ensemble' has no '{name}'."
        raise AttributeError(msg)
    return getattr(import_module(_homes()[name]), name)


def __dir__() -> list[str]:
    return [*_homes(), "__version__"]
