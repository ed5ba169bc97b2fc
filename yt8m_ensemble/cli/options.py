"""Options that several commands share, so that each is spelled and explained once."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")


class ByteSize(click.ParamType[int]):
    """Read a size such as `1GB`, `1.5 GB`, `800MiB` or a plain number of bytes."""

    name = "size"
    _units = MappingProxyType(
        {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
        | {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    )

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the number of bytes."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]*)", str(value))
        units = {name.lower(): factor for name, factor in self._units.items()}
        if match is None or match[2].lower() not in units:
            self.fail(f"'{value}' is no size; write e.g. 1GB, 500MB or 900MiB.", param, ctx)
        return round(float(match[1]) * units[match[2].lower()])


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON on standard output."
)
force_option = click.option("--force", is_flag=True, help="Replace an output that exists.")
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Check and show what would be done; write nothing."
)
seed_option = click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of every random draw."
)
batch_size_option = click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=1024,
    show_default=True,
    help="Videos a batch.",
)
scoring_batch_size_option = click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    help="Videos a batch; by default as many as take 32 MiB, at most 256.",
)
num_classes_option = click.option(
    "--num-classes",
    type=click.IntRange(min=1),
    help="Classes, where the model's files do not tell.",
)
max_size_option = click.option(
    "--max-size",
    type=ByteSize(),
    default="1GB",
    show_default=True,
    help="Most uncompressed bytes that the archive may hold.",
)


def writes_output(command: Callable[..., T]) -> Callable[..., T]:
    """Return a command that writes, with `--json --force --dry-run` added."""
    return json_option(force_option(dry_run_option(command)))


def split_commas(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Return `a,b,c` as a tuple; a click callback."""
    return tuple(part.strip() for part in value.split(",")) if value else ()


def parse_shard(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Return `I/N` as two numbers; a click callback.

    Raises:
        BadParameter: If it is none, or I is not below N.
    """
    if value is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", value)
    if match is None or int(match[1]) >= int(match[2]):
        msg = f"'{value}' is no share I/N with I from 0 to N - 1, such as 0/4 or 3/4."
        raise click.BadParameter(msg)
    return int(match[1]), int(match[2])


def parse_weights(text: str | None) -> str | tuple[float, ...] | None:
    """Return numbers, or the path of a mixture-weights file.

    Examples:
        >>> parse_weights("0.6,0.4"), parse_weights("weights.json")
        ((0.6, 0.4), 'weights.json')
    """
    if text is None:
        return None
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


def epilog(*examples: str) -> str:
    r"""Return the examples that end a command's help, formatted.

    Examples:
        >>> epilog("yt8m-ens verify blend.tgz")
        '\x08\nExamples:\n  yt8m-ens verify blend.tgz'
    """
    return "\b\nExamples:\n" + "\n".join(f"  {example}" for example in examples)
