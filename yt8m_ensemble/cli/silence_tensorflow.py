"""Keep TensorFlow's start-up chatter off people's screens.

Its C++ code writes to standard error while it is imported, before its own log level counts: five
lines that would drown the one that matters; no variable of the environment stops them. Where there
is no GPU, a line that none was found follows at the first use. Only the import is silenced, and the
look for GPUs where no device could be one; errors raised by them come through as exceptions.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


_GPU_DEVICES = ("/dev/nvidiactl", "/dev/nvhost-ctrl", "/dev/dxg", "/dev/kfd")
"""Device files of NVIDIA's drivers, of its embedded boards, of Windows' Linux, and of AMD's."""


class SilenceTensorFlow(MetaPathFinder):
    """Find TensorFlow as usual, once, and have it imported with standard error closed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of TensorFlow; `None` leaves other modules to the usual finders."""
        del path, target
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            silenced = _silenced(spec.loader.exec_module)
            spec.loader.exec_module = silenced  # type: ignore[method-assign,assignment]
        return spec


def _silenced(execute: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    def execute_silently(module: ModuleType) -> None:
        sys.stderr.flush()
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        # Its half a million objects live as long as the process: each look for garbage among them
        # takes a fifth of a second.
        gc.disable()
        try:
            execute(module)
            gc.freeze()
            if not any(map(os.path.exists, _GPU_DEVICES)):
                module.config.list_physical_devices("GPU")
        finally:
            gc.enable()
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)

    return execute_silently
