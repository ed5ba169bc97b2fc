"""Options classes as click parameters, and what the user gave of them as an options object.

    @command("merge", "MergeOptions", examples=[...])
    def merge(given: Given) -> None: ...

Parameters are made when a command is used, so `yt8m-ens --help` loads no options. Holds no
option of any command.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, wraps
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

import click

from yt8m_ensemble.cli.progress_bar import command_progress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from yt8m_ensemble.cli.render import Table
    from yt8m_ensemble.options import Command, Field, Options

O = TypeVar("O", bound="Options")  # noqa: E741 - options
R = TypeVar("R")

_BYTES = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9,
    "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip


class Text(click.ParamType[Any]):
    """Text that a function turns into a value; what it cannot turn is wrong usage."""

    def __init__(self, name: str, convert: Callable[[str], Any]) -> None:
        self.name = name
        self._convert = convert

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value of some text."""
        try:
            return self._convert(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


class ChoiceOrOlder(click.Choice[str]):
    """A choice that also understands older names."""

    def __init__(self, choices: Sequence[str], aliases: Mapping[str, str]) -> None:
        super().__init__(choices)
        self._aliases = aliases

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name of today."""
        return super().convert(self._aliases.get(value, value), param, ctx)


def parse_size(text: str) -> int:
    """Return a size such as `1GB`, `1.5 GB`, `800MiB` or a plain number as bytes.

    Raises:
        ValueError: If it is none.

    Examples:
        >>> parse_size("1.5 GB"), parse_size("1KiB")
        (1500000000, 1024)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]*)", text)
    if match is None or match[2].lower() not in _BYTES:
        msg = f"'{text}' is no size; write e.g. 1GB, 500MB or 900MiB."
        raise ValueError(msg)
    return round(float(match[1]) * _BYTES[match[2].lower()])


def parse_numbers(text: str) -> str | tuple[float, ...]:
    """Return comma-separated numbers; other text, such as a path, as it is.

    Examples:
        >>> parse_numbers("0.6,0.4"), parse_numbers("weights.json")
        ((0.6, 0.4), 'weights.json')
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        return text


def parse_pairs(texts: Iterable[str], *, option: str) -> dict[str, str]:
    """Return `KEY=VALUE` texts as a mapping.

    Raises:
        BadParameter: If one has no `=`.

    Examples:
        >>> parse_pairs(["out=runs/b"], option="--set")
        {'out': 'runs/b'}
    """
    pairs = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign:
            msg = f"'{text}' is not KEY=VALUE."
            raise click.BadParameter(msg, param_hint=option)
        pairs[key.strip()] = value.strip()
    return pairs


def _parse_comma(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",")) if text else ()


def _parse_integers(text: str) -> tuple[int, ...]:
    parts = _parse_comma(text)
    if not all(part.isdecimal() for part in parts):
        msg = f"'{text}' is not a list of integers such as 1024,128."
        raise ValueError(msg)
    return tuple(map(int, parts))


def _parse_range(text: str) -> tuple[int, int]:
    parts = _parse_comma(text)
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):  # noqa: PLR2004 - A and B
        msg = f"'{text}' is not two steps such as 7000,9000."
        raise ValueError(msg)
    return int(parts[0]), int(parts[1])


def _parse_share(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or int(match[1]) >= int(match[2]):
        msg = f"'{text}' is no share I/N with I from 0 to N - 1, such as 0/4 or 3/4."
        raise ValueError(msg)
    return int(match[1]), int(match[2])


_OLD = "__old"
"""Ends the parameter name of an older flag of a field."""


@dataclass(frozen=True)
class Given:
    """What the user gave a command.

    Attributes:
        values: Values by field name, without those left at their defaults.
        flags: The flag of each of these.
        as_json: Whether the result is to be printed as JSON.
        dry_run: Whether nothing is to be written.
    """

    values: Mapping[str, Any]
    flags: Mapping[str, str]
    as_json: bool
    dry_run: bool

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def options(self, kind: Callable[..., O], **decided: Any) -> O:
        """Return the options object of what was given.

        Args:
            kind: The options class.
            **decided: Values that the command itself decides.

        Raises:
            UsageError: If an option is given that the class lacks, or one is missing.
        """
        from yt8m_ensemble.options import fields_of

        known = fields_of(kind)
        values = {**self.values, **decided}
        for name in values:
            if name not in known and name in self.flags:
                others = [flag for key, flag in self.flags.items() if key in known]
                msg = f"{self.flags[name]} does not go with {', '.join(others) or 'the rest'}."
                raise click.UsageError(msg)
        missing = [v.flag for k, v in known.items() if v.is_required and k not in values]
        if missing:
            msg = f"Missing option {' and '.join(missing)}."
            raise click.UsageError(msg)
        return kind(**values)

    def run(self, step: Command[Any, Any, R], **decided: Any) -> R:
        """Run a step with what was given, its progress shown.

        Args:
            step: The step.
            **decided: Values that the command itself decides.

        Returns:
            Its result.
        """
        with command_progress() as progress:
            return step.run(self.options(step.options, progress=progress, **decided))

    def emit(self, result: object, *, tables: Sequence[Table] = (), text: str = "") -> None:
        """Print a result as the user asked for it; see `render.emit`."""
        from yt8m_ensemble.cli import render

        render.emit(result, as_json=self.as_json, tables=tables, text=text)


class OptionsCommand(click.Command):
    """A click command whose parameters are read from options classes on first use."""

    def __init__(
        self, *args: Any, make_params: Callable[[], list[click.Parameter]], **kwargs: Any
    ) -> None:
        self._make_params = make_params
        super().__init__(*args, **kwargs)

    @cached_property
    def _made(self) -> list[click.Parameter]:
        return self._make_params()

    @property
    def params(self) -> list[click.Parameter]:
        """The parameters."""
        return self._made

    @params.setter
    def params(self, params: list[click.Parameter]) -> None:
        """Ignore what click sets: the parameters come from the options."""


def command(
    name: str,
    *kinds: str,
    examples: Sequence[str],
    dry_run: bool = False,
    old_flags: Mapping[str, Sequence[str]] | None = None,
    extra: Sequence[click.Parameter] = (),
    leave_out: Sequence[str] = (),
) -> Callable[[Callable[[Given], None]], click.Command]:
    """Return a decorator that makes a click command of a function of `Given`.

    Args:
        name: The command's name.
        *kinds: Names of options classes in `yt8m_ensemble.options`; their fields are joined.
        examples: Complete command lines for the end of `--help`.
        dry_run: Whether its effects can be shown without them.
        old_flags: Older flags by field name, still understood, not shown.
        extra: Parameters of the command line alone; their values come in `Given.values`.
        leave_out: Fields that have no flag.
    """

    def make_params() -> list[click.Parameter]:
        import yt8m_ensemble.options as room

        fields: dict[str, Field] = {}
        for kind in kinds:
            options = getattr(room, kind)
            # A command's own options come before those that it shares with others.
            own = options.__annotations__
            found = sorted(room.fields_of(options).items(), key=lambda pair: pair[0] not in own)
            fields = {**fields, **{k: v for k, v in found if k not in fields}}
        architecture = room.architecture_fields() if "TrainOptions" in kinds else {}
        fields |= architecture
        # What is written, and whether over something, ends the list.
        for key in ("out", "force"):
            fields |= {key: fields.pop(key)} if key in fields else {}
        made: list[click.Parameter] = []
        for key, item in fields.items():
            if key in leave_out:
                continue
            is_required = item.is_required and len(kinds) == 1
            # An architecture's default is not known before its name is.
            is_negatable = item.default is True or key in architecture
            made.append(
                _parameter(item, item.flag, is_required=is_required, is_negatable=is_negatable)
            )
            for flag in (old_flags or {}).get(key, ()):
                made.append(_parameter(item, flag, suffix=_OLD))
        made.sort(key=lambda parameter: isinstance(parameter, click.Option))
        return [*made, *extra, *([_dry_run_option()] if dry_run else []), _json_option()]

    def decorate(function: Callable[[Given], None]) -> click.Command:
        @wraps(function)
        def callback(*, as_json: bool, dry_run: bool = False, **values: Any) -> None:
            context = click.get_current_context()
            by_user = click.core.ParameterSource.COMMANDLINE
            given = {k for k in values if context.get_parameter_source(k) is by_user}
            flags = {
                str(item.name).removesuffix(_OLD): item.opts[0]
                for item in context.command.params
                if item.name in given and isinstance(item, click.Option)
            }
            chosen = {key.removesuffix(_OLD): values[key] for key in values if key in given}
            function(Given(chosen, flags, as_json, dry_run))

        text = "\b\nExamples:\n" + "\n".join(f"  {example}" for example in examples)
        return OptionsCommand(
            name,
            make_params=make_params,
            callback=callback,
            help=cleandoc(function.__doc__ or ""),
            epilog=text,
        )

    return decorate


def _json_option() -> click.Option:
    return click.Option(
        ["--json", "as_json"], is_flag=True, help="Print the result as JSON on standard output."
    )


def _dry_run_option() -> click.Option:
    return click.Option(
        ["--dry-run"], is_flag=True, help="Check and show what would be done; write nothing."
    )


def _parameter(
    item: Field,
    flag: str,
    *,
    is_required: bool = False,
    is_negatable: bool = False,
    suffix: str = "",
) -> click.Parameter:
    """Return the click parameter of a field."""
    name = item.name + suffix
    kind, settings = _click_type(item)
    if item.spelling.is_argument:
        nargs = -1 if item.spelling.parse == "rest" else 1
        return click.Argument(
            [name], type=kind, nargs=nargs, required=item.is_required, metavar=flag
        )
    settings |= {"default": None, "required": is_required, "hidden": bool(suffix)}
    if kind is bool:
        names = f"{flag}/--no-{flag[2:]}" if is_negatable else flag
        return click.Option([names, name], is_flag=True, help=_help(item), **settings)
    metavar = item.spelling.metavar
    return click.Option([flag, name], type=kind, metavar=metavar, help=_help(item), **settings)


def _help(item: Field) -> str:
    shown = item.spelling.default
    if shown is None and not item.is_required:
        default = item.default
        if isinstance(default, bool):
            shown = str(default).lower() if default else None
        elif isinstance(default, (tuple, list)):
            shown = ",".join(map(str, default)) or None
        elif default is not None:
            shown = str(default) or "none"
    return f"{item.help}  [default: {shown}]" if shown else item.help


def _click_type(item: Field) -> tuple[Any, dict[str, Any]]:
    """Return the click type of a field's value, and settings of its option."""
    parse = item.spelling.parse
    if parse in {"repeat", "rest"}:
        return str, {"multiple": True}
    if parse == "pairs":
        holds_sizes = Mapping[str, int] in item.kinds
        pair = Text("pair", _parse_sized_pair if holds_sizes else _parse_pair)
        return pair, {"multiple": True, "callback": lambda _, __, pairs: dict(pairs)}
    if parse == "comma" and Sequence[int] in item.kinds:
        return Text("list", _parse_integers), {}
    if parse is not None and parse in _PARSERS:
        return Text(parse, _PARSERS[parse]), {}
    return _plain_type(item)


def _plain_type(item: Field) -> tuple[Any, dict[str, Any]]:
    if item.choices:
        return ChoiceOrOlder(item.choices, item.spelling.aliases), {}
    if str in item.kinds:
        return str, {}
    bounds, first = item.bounds, item.kinds[0]
    if get_origin(first) is tuple:
        return click.IntRange(min=int(bounds.get("ge", 0))), {"nargs": len(get_args(first))}
    if first not in {int, float} or not bounds:
        return first, {}
    make: Any = click.IntRange if first is int else click.FloatRange
    return make(
        min=bounds.get("ge", bounds.get("gt")),
        max=bounds.get("le", bounds.get("lt")),
        min_open="gt" in bounds,
        max_open="lt" in bounds,
    ), {}


def _parse_count(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _parse_pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _parse_sized_pair(text: str) -> tuple[str, int]:
    name, _, size = text.rpartition("=")
    return name, parse_size(size)


_PARSERS: dict[str, Callable[[str], Any]] = {
    "size": parse_size,
    "range": _parse_range,
    "share": _parse_share,
    "numbers": parse_numbers,
    "comma": _parse_comma,
    "count": _parse_count,
}
