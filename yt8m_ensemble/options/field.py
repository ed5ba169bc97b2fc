"""What one option is: a field of a frozen dataclass, annotated once with type, range and help.

    batch_size: Annotated[int, option("Videos a step.", ge=1)] = 1024

`option` adds to `msgspec.Meta` how the option is spelled on the command line. `fields_of` reads the
annotations back; `Options` checks every value when an instance is made. Holds no option itself,
never parses command lines or files.
"""

import difflib
import math
import operator
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NoReturn, TypeVar, Union, get_args, get_origin

import msgspec

from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.progress import Progress, no_progress

Parse = Literal["comma", "repeat", "pairs", "size", "range", "share", "numbers", "count", "rest"]
"""How text on the command line becomes a value that is no plain text, number, choice or switch."""

OptionsType = TypeVar("OptionsType", bound="Options")

_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 60
_INTEGER_LIMIT: Final = 2**63


@dataclass(frozen=True)
class Spelling:
    """How an option is written on the command line.

    Attributes:
        flag: Its name with dashes; `None` derives it from the field's name.
        metavar: What stands for its value in help.
        parse: How its text becomes a value.
        aliases: Older names of choices and the names that replaced them, read for ever.
        default: What help says of the default where the value itself would mean nothing.
        is_argument: Whether it stands without a flag.
    """

    flag: str | None = None
    metavar: str | None = None
    parse: Parse | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None
    is_argument: bool = False


def option(
    help: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    flag: str | None = None,
    metavar: str | None = None,
    parse: Parse | None = None,
    aliases: Mapping[str, str] | None = None,
    default: str | None = None,
    is_argument: bool = False,
) -> msgspec.Meta:
    """Return the annotation of an option.

    Args:
        help: One sentence for `--help`, docstrings and the reference.
        ge: Least value; of a list, of each item.
        gt: A value that it must exceed.
        le: Greatest value.
        lt: A value that it must stay below.
        flag: Command-line name, where it differs from the field's.
        metavar: What stands for the value in help.
        parse: How text becomes the value.
        aliases: Older names of choices by which they are still read.
        default: Words for the default.
        is_argument: Whether it stands without a flag.
    """
    spelling = Spelling(flag, metavar, parse, aliases or {}, default, is_argument)
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    return msgspec.Meta(
        description=help,
        extra={"spelling": spelling, "bounds": {k: v for k, v in bounds.items() if v is not None}},
    )


@dataclass(frozen=True)
class Field:
    """One option of a command, as its annotation says.

    Attributes:
        name: Name of the field, of the Python keyword and of the recipe key.
        type: Annotated type of its values in files; in-memory types are left out.
        objects: Types of values that only Python can pass, such as a mixture.
        help: One sentence.
        spelling: How it is written on the command line.
        bounds: `ge`, `gt`, `le`, `lt` that hold for numbers in it.
        default: Value if it is not given; `MISSING` if it must be.
    """

    name: str
    type: Any
    objects: tuple[type, ...]
    help: str
    spelling: Spelling
    bounds: Mapping[str, float]
    default: Any

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING

    @property
    def flag(self) -> str:
        """Its name on the command line: `--batch-size`, or `SOURCE` of an argument."""
        if self.spelling.is_argument:
            return self.spelling.metavar or self.name.upper()
        return self.spelling.flag or "--" + self.name.replace("_", "-")

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The types that its value may have, without `None`."""
        return tuple(kind for kind in _union(self.type) if kind is not NoneType)

    @property
    def choices(self) -> tuple[str, ...]:
        """The names it may take; empty if it is no choice."""
        plain = [kind for kind in self.kinds if get_origin(kind) is Literal]
        return get_args(plain[0]) if plain else ()

    @property
    def expected(self) -> str:
        """What it may be, in words."""
        return " or ".join(_describe(kind, self.bounds) for kind in self.kinds)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of every command's options; an instance holds values that have been checked.

    Lists become tuples. `progress` is how a caller follows the work; it is no option.

    Raises:
        UsageError: If a value has the wrong type or is out of range, or values contradict each
            other; carries `option`, `found`, `expected`.
    """

    progress: Progress = field(default=no_progress, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, described in fields_of(type(self)).items():
            object.__setattr__(self, name, checked(described, getattr(self, name)))
        self.check()

    def check(self) -> None:
        """Refuse values that contradict each other; here, none do."""

    def as_dict(self, *, changed_only: bool = False) -> dict[str, Any]:
        """Return the values by name, ready for JSON.

        Args:
            changed_only: Leave out those that equal their defaults.
        """
        return {
            name: _plain(getattr(self, name))
            for name, described in fields_of(type(self)).items()
            if not (changed_only and getattr(self, name) == described.default)
        }


_FIELDS: dict[Any, Mapping[str, Field]] = {}


def fields_of(options: Any) -> Mapping[str, Field]:
    """Return the annotated fields of an options class by name, those of its bases first."""
    if options not in _FIELDS:
        _FIELDS[options] = _read_fields(options)
    return _FIELDS[options]


def _read_fields(options: Any) -> Mapping[str, Field]:
    return {
        item.name: _field(item)
        for item in fields(options)
        if get_origin(item.type) is Annotated or isinstance(item.default, (bool, int, float, str))
    }


def checked(described: Field, value: Any, *, lax: bool = False) -> Any:
    """Return a value as its field wants it.

    Args:
        described: The field.
        value: What was given.
        lax: Also take numbers and truth values written as text.

    Raises:
        UsageError: If it is not what the field may be.
    """
    if described.objects and isinstance(value, described.objects):
        return value
    if isinstance(value, str):
        value = described.spelling.aliases.get(value, value)
    try:
        found = msgspec.convert(
            value, described.type, strict=not (lax and isinstance(value, (str, float)))
        )
    except (msgspec.ValidationError, OverflowError, RecursionError):
        _refuse(described, value)
    if not _within(found, described.bounds):
        _refuse(described, value)
    return tuple(found) if isinstance(found, list) else found


def _refuse(described: Field, value: Any) -> NoReturn:
    """Refuse a value.

    Raises:
        UsageError: Always.
    """
    shown = _SHOWN.repr(value)
    if isinstance(value, str):
        shown = f'"{shown[1:-1]}"'
    elif isinstance(value, bool):
        shown = str(value).lower()
    reason = f"expected {described.expected}, got {shown}"
    if described.choices and isinstance(value, str):
        (near,) = difflib.get_close_matches(value, described.choices, 1, cutoff=0.0)
        reason += f'; did you mean "{near}"?'
    msg = f"`{described.flag}`: {reason}" + ("" if reason.endswith("?") else ".")
    raise UsageError(
        msg,
        option=described.flag,
        field=described.name,
        expected=described.expected,
        found=value,
        reason=reason,
    )


def _within(value: Any, bounds: Mapping[str, float]) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_within(item, bounds) for item in value)
    if isinstance(value, Mapping):
        return all(_within(item, bounds) for item in value.values())
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return True
    if isinstance(value, int) and not -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
        return False  # beyond what arrays and TensorFlow count with
    if not math.isfinite(value):
        return False
    tests = {"ge": operator.ge, "gt": operator.gt, "le": operator.le, "lt": operator.lt}
    return all(tests[name](value, bound) for name, bound in bounds.items())


def _field(item: Any) -> Field:
    if get_origin(item.type) is not Annotated:
        # An architecture of the user's own may state no more than a default.
        item.type = Annotated[type(item.default), option("")]
    kind, *notes = get_args(item.type)
    (meta,) = [note for note in notes if isinstance(note, msgspec.Meta)]
    extra: Mapping[str, Any] = meta.extra or {}
    parts = _union(kind)
    # Protocols stand for objects that only a caller in Python has; files cannot hold them.
    objects = tuple(part for part in parts if getattr(part, "_is_protocol", False))
    plain = tuple(part for part in parts if part not in objects)
    default = item.default
    if default is MISSING and item.default_factory is not MISSING:
        default = item.default_factory()
    return Field(
        item.name,
        Annotated[Union[plain], meta],  # noqa: UP007 - made of parts
        objects,
        meta.description or "",
        extra["spelling"],
        extra["bounds"],
        default,
    )


def _union(kind: Any) -> tuple[Any, ...]:
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)


_PLAIN_KINDS = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
_ITEM_KINDS = {int: "integers", float: "numbers", str: "texts"}


def _describe(kind: Any, bounds: Mapping[str, float]) -> str:
    """Return a type and its range in words.

    Examples:
        >>> _describe(int, {"ge": 1}), _describe(float, {"ge": 0, "le": 1})
        ('an integer of at least 1', 'a number from 0 to 1')
        >>> _describe(Sequence[int], {}), _describe(tuple[int, int], {})
        ('a list of integers', 'a list of 2 integers')
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return f"one of {', '.join(arguments)}"
    if origin is tuple:
        items = f"{len(arguments)} {_ITEM_KINDS[arguments[0]]}"
        return f"a list of {items}{_bounds_text(bounds)}"
    if origin is not None and issubclass(origin, Mapping):
        items = " or ".join(_ITEM_KINDS.get(part, "values") for part in _union(arguments[1]))
        return f"a table of {items} by name"
    if origin is not None and issubclass(origin, Sequence):
        choices = get_args(arguments[0]) if get_origin(arguments[0]) is Literal else ()
        if choices:
            return f"a list of {', '.join(choices)}"
        items = " or ".join(_ITEM_KINDS[part] for part in _union(arguments[0]))
        return f"a list of {items}{_bounds_text(bounds)}"
    numeric = kind in {int, float}
    return _PLAIN_KINDS[kind] + (_bounds_text(bounds) if numeric else "")


def _bounds_text(bounds: Mapping[str, float]) -> str:
    low = f"{bounds['ge']:g}" if "ge" in bounds else None
    high = f"{bounds['le']:g}" if "le" in bounds else None
    if low and high:
        return f" from {low} to {high}"
    words = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}
    texts = [f"{words[name]} {bound:g}" for name, bound in bounds.items()]
    return " " + " and ".join(texts) if texts else ""


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return dict(value) if isinstance(value, Mapping) else value
