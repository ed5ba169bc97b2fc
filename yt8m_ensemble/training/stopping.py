"""Requests to stop a training run, so that it ends after a step and what it learned is saved."""

from __future__ import annotations

import logging
import signal
import threading
from typing import TYPE_CHECKING, Any, Self

from yt8m_ensemble.errors import Interrupted

if TYPE_CHECKING:
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOG = logging.getLogger(__name__)


class StopRequest:
    """Note the first signal instead of letting it end the process; a context manager.

    A second signal has the effect that it had before the block. Outside the main thread, where
    Python sees no signals, nothing is noted.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:  # as under `nohup`
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    @property
    def is_made(self) -> bool:
        """Whether a signal came."""
        return self._number is not None

    def error(self, note: str) -> Interrupted:
        """Return the exception that ends the process as the signal would have.

        Args:
            note: What was saved, for the user.
        """
        error = Interrupted(self._number or signal.SIGINT)
        error.add_note(note)
        return error

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._number = number
        self._restore()
        _LOG.warning("Saving after this step; a second signal ends the run at once.")

    def _restore(self) -> None:
        while self._previous:
            signal.signal(*self._previous.popitem())
