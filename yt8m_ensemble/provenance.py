"""`<out>.provenance.json`: how an artefact came to be, so that it can be made again."""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING, Any

from yt8m_ensemble import __version__, files

if TYPE_CHECKING:
    from collections.abc import Mapping


def write_provenance(
    out: str,
    *,
    command: str,
    inputs: Mapping[str, str],
    options: Mapping[str, Any],
    **more: Any,
) -> None:
    """Write the provenance file beside an output that has just been written.

    Args:
        out: The output; `.provenance.json` is appended.
        command: The command that made it.
        inputs: Digest of each input by its path.
        options: What the command was told.
        **more: Further facts, JSON-able.
    """
    facts = {
        "command": command,
        "versions": {"yt8m_ensemble": __version__, "python": platform.python_version()},
        "inputs": dict(inputs),
        "options": dict(options),
        **more,
    }
    files.write_text(f"{out}.provenance.json", json.dumps(facts, indent=2), force=True)
