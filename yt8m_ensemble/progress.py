"""How a long-running function tells its caller how far it is, or why it waits. Draws nothing."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LISTENERS: Final[list[Callable[[str], object]]] = []


class Progress(Protocol):
    """Called by long-running functions as they advance; must be cheap."""

    def __call__(
        self, task: str, done: float, total: float | None, *, unit: str = "", note: str = ""
    ) -> None:
        """Report progress.

        Args:
            task: What is being done, e.g. `train moe2`; a new text starts a new bar.
            done: Units done so far.
            total: Units in all, perhaps estimated; `None` if unknown.
            unit: Name of the unit, e.g. `examples`.
            note: A short line beside the bar, e.g. the loss.
        """
        ...


def no_progress(
    task: str, done: float, total: float | None, *, unit: str = "", note: str = ""
) -> None:
    """Ignore progress."""
    del task, done, total, unit, note


@contextmanager
def listen(listener: Callable[[str], object]) -> Iterator[None]:
    """Receive what `notify` passes on, as long as the context lasts.

    Args:
        listener: Called with each sentence.

    Yields:
        Nothing.
    """
    _LISTENERS.append(listener)
    try:
        yield
    finally:
        _LISTENERS.remove(listener)


def notify(text: str) -> None:
    """Pass on to listeners what takes time now, from where no `Progress` is at hand.

    Args:
        text: A sentence.
    """
    for listener in tuple(_LISTENERS):
        listener(text)
