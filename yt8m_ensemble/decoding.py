"""JSON of files as typed values, or our error with the file and the key. Opens no file.

Damaged, deeply nested, wrong-typed or oversized text never raises anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from yt8m_ensemble.errors import EnsembleError

T = TypeVar("T")

MAX_JSON_BYTES = 256_000_000
"""No JSON file of the toolkit or of the originals comes near this size."""

_WORDS = {
    "`int`": "an integer", "`float`": "a number", "`str`": "text", "`bool`": "true or false",
    "`array`": "a list", "`object`": "an object", "`null`": "null",
}  # fmt: skip


def decode_json(
    data: str | bytes, kind: type[T], *, path: str, error: type[EnsembleError], advice: str
) -> T:
    """Decode JSON into a type.

    Args:
        data: The text, or its bytes.
        kind: What it must be: a `msgspec.Struct`, a `dict[str, Any]`, …
        path: The file, for messages.
        error: The exception to raise.
        advice: The sentence that ends its message: what the user can do.

    Returns:
        The value.

    Raises:
        EnsembleError: As `error`, if the text is no JSON or something else than `kind`; carries
            `path` and `reason`.
    """
    reason = f"it has {len(data):,} bytes, expected at most {MAX_JSON_BYTES:,}"
    if len(data) <= MAX_JSON_BYTES:
        try:
            return msgspec.json.decode(data, type=kind, strict=True)
        except msgspec.ValidationError as found:
            reason = _in_words(str(found))
            msg = f"In '{path}': {reason}. {advice}"
            raise error(msg, path=path, reason=reason) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as found:
            reason = str(found)
        except RecursionError:
            reason = "it nests too deeply"
    msg = f"'{path}' is not JSON: {reason}. {advice}"
    raise error(msg, path=path, reason=reason)


def convert_json(
    value: Any, kind: type[T], *, path: str, error: type[EnsembleError], advice: str
) -> T:
    """Return a decoded JSON value as a type, as `decode_json` does with text.

    Raises:
        EnsembleError: As `error`, if it is something else.
    """
    try:
        return msgspec.convert(value, kind, strict=True)
    except (msgspec.ValidationError, RecursionError) as found:
        reason = _in_words(str(found))
        msg = f"In '{path}': {reason}. {advice}"
        raise error(msg, path=path, reason=reason) from None


def _in_words(message: str) -> str:
    """Return a message of the decoder the way ours read.

    Examples:
        >>> _in_words("Expected `float`, got `str` - at `$.weights[0]`")
        '`weights[0]`: expected a number, got text'
    """
    text, _, place = message.partition(" - at `$")
    for word, words in _WORDS.items():
        text = text.replace(word, words)
    text = text[:1].lower() + text[1:]
    place = place.rstrip("`").removeprefix(".")
    return f"`{place}`: {text}" if place else text
