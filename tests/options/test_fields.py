"""Options classes: what an annotation says, holds on the command line and in a Python call."""

import inspect
from dataclasses import dataclass
from typing import Annotated, Any

import click
import pytest

import yt8m_ensemble.options as room
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.errors import DataError, ModelError, UsageError
from yt8m_ensemble.options import Options, command, fields_of, keywords, option
from yt8m_ensemble.options.architectures import FAMILIES
from yt8m_ensemble.options.field import checked

CLASSES = [
    value
    for name, value in sorted(vars(room).items())
    if isinstance(value, type) and issubclass(value, Options) and value is not Options
]
FIELDS = [
    pytest.param(item, id=f"{kind.__name__}.{item.name}")
    for kind in (*CLASSES, *FAMILIES)
    for item in fields_of(kind).values()
]


def wrong_values(item):
    """Yield values that a field cannot have, each with a reason."""
    yield "an object", object()
    yield "bytes", b"x"
    kinds = {getattr(kind, "__origin__", kind) for kind in item.kinds}
    if str not in kinds and not item.choices:
        yield "text", "nonsense"
    if bool not in kinds:
        yield "a truth value", True
    if item.choices:
        yield "another name", "nonsense"
    if dict not in kinds and not any("Mapping" in str(kind) for kind in kinds):
        yield "a table", {"x": "y"}
    if not any("Sequence" in str(kind) or "tuple" in str(kind) for kind in kinds):
        yield "a list", ["x"]
    for name, bound in item.bounds.items():
        below = bound - 1 if name in {"ge", "gt"} else bound + 1
        outside = bound if name in {"gt", "lt"} else below
        if "int" in str(item.kinds[0]) and "Mapping" not in str(item.kinds[0]):
            is_list = "Sequence" in str(item.kinds[0]) or "tuple" in str(item.kinds[0])
            yield f"outside {name}", [int(outside)] * 2 if is_list else int(outside)
        elif float in kinds:
            yield f"outside {name}", float(outside)
    if float in kinds:
        yield "nan", float("nan")
        yield "infinity", float("inf")


@pytest.mark.parametrize("item", FIELDS)
def test_a_value_that_a_field_cannot_have_is_refused_by_its_name(item):
    for reason, value in wrong_values(item):
        with pytest.raises(UsageError, match="expected") as caught:
            checked(item, value)
        assert item.flag in str(caught.value), reason
        assert caught.value.field == item.name


@pytest.mark.parametrize("item", FIELDS)
def test_a_default_is_a_value_that_the_field_can_have(item):
    if not item.is_required:
        assert checked(item, item.default) == item.default or item.default == ()


@pytest.mark.parametrize("item", FIELDS)
def test_every_option_is_explained(item):
    assert item.help.endswith(".")
    assert item.help[0].isupper() or item.help[0] in "`("


def parameters(name):
    found: Any = cli
    for part in name.split():
        found = found.commands[part]
    return {parameter.name: parameter for parameter in found.params}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("avg-ckpt", "AverageOptions"),
        ("predict", "PredictOptions"),
        ("tune-weights", "TuneOptions"),
        ("merge", "MergeOptions"),
        ("train", "TrainOptions"),
        ("verify", "VerifyOptions"),
        ("convert features", "ConvertFeaturesOptions"),
    ],
)
def test_the_command_line_takes_every_option_and_no_other(name, kind):
    own = set(fields_of(getattr(room, kind)))
    if name == "train":
        own |= set(room.architecture_fields())
    spelled = {key for key in parameters(name) if not key.endswith("__old")}
    assert spelled - own <= {"as_json", "dry_run", "fp16_policy", "like"}
    assert own <= spelled


def test_values_come_from_the_command_line_as_their_types(monkeypatch):
    got: list[Any] = []
    monkeypatch.setattr(
        "yt8m_ensemble.cli.options.Given.run", lambda given, *_, **__: got.append(given.values)
    )
    monkeypatch.setattr("yt8m_ensemble.cli.avg_ckpt._tables", lambda _: [])
    with pytest.raises(AttributeError):  # nothing was run, so there is nothing to print
        cli.main(
            ["avg-ckpt", "--prefix", "a", "--prefix", "b", "--range", "1,2", "--batch_size", "7",
             "--weights", "1,2", "--out", "x"],
            standalone_mode=False,
        )  # fmt: skip
    assert got == [
        {
            "prefix": ("a", "b"), "step_range": (1, 2), "batch_size": 7, "weights": "1,2",
            "out": "x",
        }
    ]  # fmt: skip


@pytest.mark.parametrize("old", ["--input", "--num-frames", "--predictions"])
def test_old_flags_are_understood_and_not_shown(old):
    merge = cli.commands["merge"]
    assert any(old in parameter.opts for parameter in merge.params)
    shown = merge.get_help(click.Context(merge)).split()
    assert old not in shown


@dataclass(frozen=True, kw_only=True)
class _Options(Options):
    """Options of the function below."""

    size: Annotated[int, option("How many.", ge=1)]
    names: Annotated[str | None, option("Which.")] = None


@command(_Options)
def _double(options: _Options) -> int:
    """Double a size.

    Returns:
        The double.
    """
    return 2 * options.size


def test_a_command_is_called_by_keyword_and_describes_itself():
    assert _double(size=3) == 6
    assert _double.run(_Options(size=4)) == 8
    assert str(inspect.signature(_double)).startswith("(*, progress:")
    assert "size: int, names: str | None = None" in str(inspect.signature(_double))
    assert "Args:\n    size: How many.\n    names: Which." in str(_double.__doc__)
    assert str(_double.__doc__).endswith("\n\nReturns:\n    The double.")
    with pytest.raises(UsageError, match="`--size`: expected an integer of at least 1, got 0"):
        _double(size=0)
    with pytest.raises(UsageError, match="`--size`: expected an integer of at least 1, got 1000"):
        _double(size=10**400)
    with pytest.raises(TypeError, match="membrs"):
        _double(membrs=3)  # type: ignore[call-arg]


def test_options_beside_a_path_are_described_before_what_may_be_raised():
    @keywords(_Options)
    def read(path: str, options: _Options | None = None) -> int:
        """Read.

        Args:
            path: Where it is.
            options: How to read; a
                line more.

        Raises:
            DataError: Always.
        """
        msg = f"{path} {options}"
        raise DataError(msg)

    head, raised = str(read.__doc__).split("\n\nRaises:\n")
    assert "Args:\n    path: Where it is.\n    size: How many.\n    names: Which." in head
    assert raised == "    DataError: Always."
    with pytest.raises(DataError, match=r"here .*size=2"):
        read("here", size=2)


def test_an_architecture_of_ones_own_needs_no_annotations():
    @dataclass(frozen=True)
    class Mine(FAMILIES[0]):  # type: ignore[misc, valid-type]
        width: int = 8
        kind: str = "wide"

    text: Any = "16"  # flags of the originals are text
    assert Mine(width=text).width == 16
    with pytest.raises(ModelError, match="Option 'width' of Mine: expected an integer"):
        Mine(width=text + "th")
