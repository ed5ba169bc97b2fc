"""Compilation of inner loops by numba, which keeps the machine code beside the source if it may.

Takes seconds the first time on a machine; whoever listens to `progress.notify` hears of it.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import numba
from numba.core import event

from yt8m_ensemble.progress import notify

if TYPE_CHECKING:
    from collections.abc import Callable


class _Compilation(event.Listener):  # type: ignore[misc]
    """What goes with compilations; code that is read from disk is none.

    The first in a process is told. During each the garbage collector rests: it would search the
    many objects of numba for cycles again and again, a sixth of the time.
    """

    def __init__(self) -> None:
        self._is_told = False
        self._depth = 0
        self._was_enabled = False

    def on_start(self, event: object) -> None:
        """Called before numba compiles a function, also one that another calls."""
        del event
        if not self._depth:
            self._was_enabled = gc.isenabled()
            gc.disable()
        self._depth += 1
        if not self._is_told:
            self._is_told = True
            notify("Compiling inner loops for this machine, which later runs need not do.")

    def on_end(self, event: object) -> None:
        """Called when it has."""
        del event
        self._depth -= 1
        if not self._depth and self._was_enabled:
            gc.enable()


_LISTENER = _Compilation()
event.register("numba:compile", _LISTENER)


def compiled(function: Callable[..., Any]) -> Any:
    """Return a function that is compiled on its first call, in each process where need be."""
    settings: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **settings)(function)
    except RuntimeError:  # neither the package's folder nor the user's can be written to
        return numba.njit(**settings)(function)
