"""How a long-running function tells its caller how far it is. Draws nothing."""

from __future__ import annotations

from typing import Protocol


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
