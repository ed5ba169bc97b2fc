"""What a run leaves behind of its steps, as JSON below `<out>/.steps/`; typed, one format a file.

Format 1, of toolkits before 0.3, holds `key` and `outputs` alone. Runs nothing.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from yt8m_ensemble import files
from yt8m_ensemble.decoding import decode_json
from yt8m_ensemble.errors import RecipeError

T = TypeVar("T")

FORMAT = 2
RUN_FILE = "run"


class StoredCheck(msgspec.Struct, frozen=True):
    """One named check of `verify`."""

    name: str
    is_ok: bool
    detail: str = ""


class StepResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a report needs of a step beside its files.

    Attributes:
        checks: Checks of the archive, of `verify`.
        gaps: GAP by global step, of the checkpoints of one member.
        num_videos: Videos behind these.
        train_s: Seconds that training took, without scoring the checkpoints.
    """

    checks: tuple[StoredCheck, ...] = ()
    gaps: dict[int, float] = {}
    num_videos: int = 0
    train_s: float | None = None


class StepRecord(msgspec.Struct, frozen=True):
    """What is kept of a step.

    Attributes:
        format: Version of this record.
        key: Digest of what went in; empty if the step never began.
        outputs: Digest of every file that came out; `None` until the step is done.
        elapsed_s: Seconds that it took.
        finished: When it was done, ISO 8601 in UTC.
        result: What else it found.
    """

    format: int = 1
    key: str = ""
    outputs: dict[str, str] | None = None
    elapsed_s: float | None = None
    finished: str | None = None
    result: StepResult = StepResult()


class RunRecord(msgspec.Struct, frozen=True):
    """What is kept of a run.

    Attributes:
        format: Version of this record.
        recipe: Path of the recipe.
        text: The recipe as it was, without what the command line replaced.
        overrides: What the command line replaced.
        ensembles: Names of its ensembles, in order.
        version: Of the toolkit.
    """

    format: int = FORMAT
    recipe: str = ""
    text: str = ""
    overrides: dict[str, str] = {}
    ensembles: tuple[str, ...] = ()
    version: str = ""


def record_path(out: str, name: str) -> str:
    """Return the file of a step, or of the run itself."""
    return f"{out.rstrip('/')}/.steps/{name.replace('/', '.')}.json"


def read_record(path: str, kind: type[T], *, default: T) -> T:
    """Read a record.

    Args:
        path: The file.
        kind: What it must hold.
        default: What an absent file stands for.

    Returns:
        The record.

    Raises:
        RecipeError: If it is damaged, or of a later toolkit.
    """
    if not files.exists(path):
        return default
    advice = "Remove the file: the step it belongs to then runs again."
    record = decode_json(files.read_bytes(path), kind, path=path, error=RecipeError, advice=advice)
    found = getattr(record, "format", FORMAT)
    if found > FORMAT:
        msg = f"'{path}' has format {found}, expected at most {FORMAT}. Update the toolkit."
        raise RecipeError(msg, path=path, format=found)
    return record
