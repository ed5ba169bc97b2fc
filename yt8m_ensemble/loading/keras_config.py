"""Check what a Keras file would make before Keras sees it: its configuration against a list.

Loads neither Keras nor TensorFlow. A configuration names classes, and some of them run code that
the file holds; `keras_classes.json` lists what may be made, each family with its reason, and
everything else is refused.
"""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from yt8m_ensemble.decoding import decode_json
from yt8m_ensemble.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_CONFIG_BYTES: Final = 1 << 24
"""Most bytes of a configuration; those of a thousand layers have about 1 MB."""

_MAX_DEPTH: Final = 100
_KERAS: Final = ("keras", "tf_keras", "tensorflow.keras", "tensorflow.python.keras")


def check_config(text: str | bytes, *, path: str) -> dict[str, Any]:
    """Refuse a configuration that would make anything but layers of the list.

    Args:
        text: The JSON text.
        path: The file that holds it, for messages.

    Returns:
        The configuration.

    Raises:
        ModelError: If it is none, or names a class, module or function that is not on the list.
    """
    if len(text) > MAX_CONFIG_BYTES:
        msg = (
            f"The configuration in '{path}' has {len(text):,} bytes, at most {MAX_CONFIG_BYTES:,}."
        )
        raise ModelError(msg, path=path, found=len(text), limit=MAX_CONFIG_BYTES)
    config = decode_json(
        text, dict[str, Any], path=path, error=ModelError, advice="Save the model again."
    )
    # What a model was compiled with is never made.
    made = {key: value for key, value in config.items() if key != "compile_config"}
    for entry, where in _entries(made, "", path=path):
        _check_entry(entry, where, path=path)
    return config


@functools.cache
def _table() -> Mapping[str, Any]:
    text = resources.files("yt8m_ensemble.loading").joinpath("keras_classes.json").read_text()
    table: dict[str, Any] = json.loads(text)
    return table


def _entries(value: Any, layer: str, *, path: str, depth: int = 0) -> Iterator[tuple[Any, str]]:
    """Yield every object that names a class, with the layer that it belongs to.

    Raises:
        ModelError: If it is nested too deep.
    """
    if depth > _MAX_DEPTH:
        msg = f"The configuration in '{path}' is nested over {_MAX_DEPTH} deep. Save it again."
        raise ModelError(msg, path=path)
    if isinstance(value, list):
        for item in value:
            yield from _entries(item, layer, path=path, depth=depth + 1)
    elif isinstance(value, dict):
        config = value.get("config")
        if isinstance(config, dict) and isinstance(config.get("name"), str):
            layer = config["name"]
        if {"class_name", "module", "registered_name"} & value.keys():
            yield value, layer
        for item in value.values():
            yield from _entries(item, layer, path=path, depth=depth + 1)


def _check_entry(entry: Mapping[str, Any], layer: str, *, path: str) -> None:
    """Refuse an object that is not of the list.

    Raises:
        ModelError: If it is not.
    """
    name, module = entry.get("class_name"), entry.get("module")
    registered = entry.get("registered_name")
    fault = None
    if name == "function":
        function = entry.get("config")
        if function not in _table()["functions"]:
            fault = f"is the function '{function}', which is no activation of the list"
    elif (reason := _reason(name)) is not None:
        fault = reason
    elif module is not None and not _is_of(module, _modules(name)):
        fault = f"is a class of '{module}', not of Keras"
    if fault is None and registered not in (None, name):
        fault = f"is registered as '{registered}', not of Keras"
    if fault is not None:
        msg = (
            f"'{path}' is refused: {name} '{layer}' {fault}. Export the model as a SavedModel, "
            "with `model.export` of Keras, where you trust it."
        )
        raise ModelError(msg, path=path, layer=layer, class_name=name)


def _reason(name: Any) -> str | None:
    for family in _table()["refused"]:
        if name in family["classes"]:
            return str(family["reason"])
    known = any(name in family["classes"] for family in _table()["allowed"])
    return None if known else "is not on the list of layers that may be made"


def _modules(name: Any) -> tuple[str, ...]:
    """Return the modules that a class may be of."""
    families = [family for family in _table()["allowed"] if name in family["classes"]]
    return tuple(m for family in families for m in family.get("modules", _KERAS))


def _is_of(module: Any, packages: tuple[str, ...]) -> bool:
    return isinstance(module, str) and any(f"{module}.".startswith(f"{p}.") for p in packages)
