"""`<out>.provenance.json`: how an artefact came to be, so that it can be made again."""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING, Any

import msgspec

from yt8m_ensemble import __version__, files
from yt8m_ensemble.companions import PROVENANCE_ENDING
from yt8m_ensemble.constants import MAX_FLAGS_BYTES
from yt8m_ensemble.decoding import decode_json
from yt8m_ensemble.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yt8m_ensemble.options import Options


class Provenance(msgspec.Struct, frozen=True):
    """What later commands read of a provenance file; it holds more.

    Attributes:
        command: The command that made the artefact.
        inputs: Digest of each input by its path.
        versions: Of the toolkit and of Python.
        options: Its options by name.
        model_flags: Flags of the model, of an averaged checkpoint.
        mixture: The mixture's file of weights, of a merged model.
    """

    command: str = ""
    inputs: dict[str, str] = {}
    versions: dict[str, str] = {}
    options: dict[str, Any] = {}
    model_flags: dict[str, Any] | None = None
    mixture: dict[str, Any] | None = None


def provenance_path(out: str) -> str:
    """Return the path of an output's provenance file."""
    return f"{out}{PROVENANCE_ENDING}"


def format_provenance(
    *, command: str, inputs: Mapping[str, str], options: Options, **more: Any
) -> str:
    """Return the text of a provenance file.

    Args:
        command: The command that made the output.
        inputs: Digest of each input by its path.
        options: All options of the command.
        **more: What the command found out, JSON-able.
    """
    content = {
        "command": command,
        "versions": {"yt8m_ensemble": __version__, "python": platform.python_version()},
        "inputs": dict(inputs),
        "options": options.as_dict(),
        **more,
    }
    return json.dumps(content, indent=2)


def write_provenance(part: str, **content: Any) -> None:
    """Write the provenance of an output that has not got its name yet; see `companions`.

    Args:
        part: The output under its temporary name; `.provenance.json` is appended.
        **content: As of `format_provenance`.
    """
    files.write_part(provenance_path(part), format_provenance(**content))


def read_provenance(out: str) -> Provenance:
    """Read the provenance file beside an output.

    Returns:
        What it says; nothing known if there is no such file.

    Raises:
        ModelError: If it is damaged.
    """
    files.recover_output(out)
    path = provenance_path(out)
    if not files.exists(path):
        return Provenance()
    advice = "Restore the file, or remove it and keep `model_flags.json` beside the checkpoint."
    return decode_json(
        files.read_limited(path, limit=MAX_FLAGS_BYTES),
        Provenance,
        path=path,
        error=ModelError,
        advice=advice,
    )
