"""A command of the Python API: a function of one options object, called by keyword.

    @command(MergeOptions)
    def merge_models(options: MergeOptions) -> MergeResult: ...

    merge_models(members=["a", "b"], out="blend")      # typed: mypy knows every keyword
    merge_models.run(MergeOptions(members=["a", "b"], out="blend"))

Signature and the "Args" of the docstring come from the options class. Runs nothing by itself.
"""

import inspect
import re
from collections.abc import Callable
from functools import update_wrapper
from typing import (
    Annotated,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    TypeVar,
    get_args,
    get_origin,
)

from yt8m_ensemble.options.field import Options, fields_of

P = ParamSpec("P")
O = TypeVar("O", bound=Options)  # noqa: E741 - options
R = TypeVar("R")

_AFTER_ARGS = re.compile(r"\n+(?=(?:Returns|Yields|Raises|Examples):\n)")
_OPTIONS_ENTRY = re.compile(r"\n    options: .*(?:\n {8}.*)*")


class Command(Generic[P, O, R]):
    """A function that takes the fields of an options class as keywords.

    Attributes:
        options: The options class.
        run: The function itself, of one options object.
    """

    def __init__(self, options: Callable[P, O], run: Callable[[O], R]) -> None:
        self.options = options
        self.run = run
        update_wrapper(self, run)
        self.__doc__ = _documented(inspect.getdoc(run) or "", options)
        self.__signature__ = _signature(options, inspect.signature(run).return_annotation)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Make the options of the keywords, which checks them, and run.

        Returns:
            What the function returns.
        """
        return self.run(self.options(*args, **kwargs))


def command(options: Callable[P, O]) -> Callable[[Callable[[O], R]], Command[P, O, R]]:
    """Return a decorator that makes a function of an options object callable by keyword.

    Args:
        options: The options class.
    """
    return lambda run: Command(options, run)


def keywords(
    options: Callable[P, O],
) -> Callable[[Callable[[str, O], R]], Callable[Concatenate[str, P], R]]:
    """Return a decorator for a function of a path and an options object: it takes keywords.

    Args:
        options: The options class.
    """

    def decorate(run: Callable[[str, O], R]) -> Callable[Concatenate[str, P], R]:
        def call(path: str, /, *args: P.args, **kwargs: P.kwargs) -> R:
            return run(path, options(*args, **kwargs))

        update_wrapper(call, run)
        call.__doc__ = _documented(inspect.getdoc(run) or "", options)
        return call

    return decorate


def _signature(options: Callable[..., Options], returned: Any) -> inspect.Signature:
    """Return the signature of a call by keyword, its types without their descriptions."""
    parameters = []
    for parameter in inspect.signature(options).parameters.values():
        kind = parameter.annotation
        plain = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        parameters.append(parameter.replace(annotation=plain))
    return inspect.Signature(parameters, return_annotation=returned)


def _documented(text: str, options: Callable[..., Options]) -> str:
    """Return a docstring with an "Args" section of the options before its other sections."""
    described = fields_of(options)
    entries = [f"    {name}: {item.help}" for name, item in described.items()]
    entries.append("    progress: Called as the work advances; see `Progress`.")
    head, *rest = _AFTER_ARGS.split(text, maxsplit=1)
    if "\nArgs:\n" in head:
        head = _OPTIONS_ENTRY.sub("", head).rstrip()  # the caller passes its fields instead
    else:
        head = f"{head.rstrip()}\n\nArgs:"
    return "\n\n".join(["\n".join([head, *entries]), *rest])
