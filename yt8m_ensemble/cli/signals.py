"""Signals as exceptions, so that whatever ends a command, its temporary files are removed."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from yt8m_ensemble.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def signals_raised() -> Iterator[list[int]]:
    """Raise `Interrupted` where a signal would end the process.

    Yields:
        The signals that came.
    """
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        del frame
        received.append(number)
        raise Interrupted(number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    # A signal that the parent process ignores (`nohup`) stays ignored.
    before = {n: signal.getsignal(n) for n in _SIGNALS if signal.getsignal(n) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
