"""The tables of a recipe as options: which keys each may have, of which values; their JSON schema.

A table's keys are the fields of a command's options, without those that the recipe itself decides.
Reads no recipe and runs nothing.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from yt8m_ensemble.constants import MAX_FRAME_LIMIT, MAX_FRAMES
from yt8m_ensemble.errors import RecipeError, UsageError
from yt8m_ensemble.options.architectures import architecture_fields
from yt8m_ensemble.options.average import AverageOptions, judging_options
from yt8m_ensemble.options.bundle import MergeOptions, PackageOptions
from yt8m_ensemble.options.choices import Level
from yt8m_ensemble.options.field import Field, Options, checked, fields_of, option
from yt8m_ensemble.options.mixture import TuneOptions
from yt8m_ensemble.options.records import SynthOptions
from yt8m_ensemble.options.shared import ScoringOptions
from yt8m_ensemble.options.train import TrainingOptions

NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
"""Names of tables: they become names of files."""


@dataclass(frozen=True, kw_only=True)
class EnsembleOptions(ScoringOptions):
    """What the members of one ensemble read and predict."""

    validate_data: Annotated[
        str, option("Labeled records on which weights are tuned and judged.", metavar="GLOB")
    ]
    train_data: Annotated[
        str | None, option("Labeled records on which members are trained.", metavar="GLOB")
    ] = None
    features: Annotated[Level, option("Level of the records.")]
    feature_names: Annotated[
        str | None, option("Features to read, in this order, comma-separated.")
    ] = None
    feature_sizes: Annotated[str | None, option("Values of each feature, comma-separated.")] = None
    max_frames: Annotated[
        int, option("Frames kept of a video, at frame level.", ge=1, le=MAX_FRAME_LIMIT)
    ] = MAX_FRAMES
    num_classes: Annotated[int, option("Size of the vocabulary.", ge=1)]


@dataclass(frozen=True, kw_only=True)
class _MemberOptions(TrainingOptions):
    """What a member is trained with beside the ensemble's `train` table."""

    model: Annotated[str, option("Architecture, such as MoeModel.")]
    average: Annotated[
        bool, option("Average its checkpoints, if the ensemble has an `average` table.")
    ] = True
    train_data: Annotated[
        str | None, option("Its own labeled records.", metavar="GLOB", default="the ensemble's")
    ] = None
    features: Annotated[
        Level | None, option("Level of its own records.", default="the ensemble's")
    ] = None
    feature_names: Annotated[
        str | None, option("Features that it reads, comma-separated.", default="the ensemble's")
    ] = None
    feature_sizes: Annotated[
        str | None, option("Values of each of them, comma-separated.", default="the ensemble's")
    ] = None
    max_frames: Annotated[
        int | None,
        option(
            "Frames that it keeps of a video.", ge=1, le=MAX_FRAME_LIMIT, default="the ensemble's"
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class _ReadyMemberOptions(Options):
    """A member that is there already."""

    path: Annotated[str, option("Path to a trained model.")]


@dataclass(frozen=True)
class Table:
    """One kind of table of a recipe.

    Attributes:
        options: The options class whose fields are its keys.
        decided: Fields that the recipe itself sets, with values to check the others with, or
            functions that make such ones of the others.
        more: Further keys: options of architectures.
        is_partial: Whether required keys may be left out, to be given elsewhere.
    """

    options: type[Options]
    decided: Mapping[str, Any]
    more: Mapping[str, Field]
    is_partial: bool = False

    @property
    def fields(self) -> dict[str, Field]:
        """The keys that the table may have."""
        own = fields_of(self.options).items()
        return {k: v for k, v in own if k not in {*self.decided, "force"}} | dict(self.more)

    def check(self, table: Any, *, where: str) -> dict[str, Any]:
        """Return the values of a table as its fields want them.

        Args:
            table: What the recipe holds.
            where: The table's path, for messages.

        Raises:
            RecipeError: If a key is unknown, missing, or has a value that it cannot have; the
                message starts with the key's path.
        """
        if not isinstance(table, Mapping):
            msg = f"{where}: expected a table, got {table!r:.60}."
            raise RecipeError(msg, where=where)
        fields = self.fields
        check_keys(table, fields, where=where)
        values = {key: _checked(fields[key], item, where=where) for key, item in table.items()}
        missing = [k for k, v in fields.items() if v.is_required and k not in table]
        if missing and not self.is_partial:
            msg = f"{where}.{missing[0]}: missing, expected {fields[missing[0]].expected}."
            raise RecipeError(msg, where=where, key=missing[0])
        if not self.is_partial:
            own = {key: values[key] for key in values if key not in self.more}
            try:
                made = {k: v(own) if callable(v) else v for k, v in self.decided.items()}
                self.options(**made, **own)
            except UsageError as error:
                msg = f"{where}: {error}"
                raise RecipeError(msg, where=where, **error.details) from None
        return values

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the table."""
        fields = self.fields
        required = [k for k, v in fields.items() if v.is_required and not self.is_partial]
        return {
            "type": "object",
            "properties": {key: _field_schema(item) for key, item in fields.items()},
            **({"required": required} if required else {}),
            "additionalProperties": False,
        }


_PATHS = {"out": "x"}
SYNTH = Table(SynthOptions, _PATHS, {})
ENSEMBLE = Table(EnsembleOptions, {}, {})
TRAIN = Table(TrainingOptions, {}, architecture_fields(), is_partial=True)
MEMBER = Table(_MemberOptions, {}, architecture_fields(), is_partial=True)
READY_MEMBER = Table(_ReadyMemberOptions, {}, {})
COMMANDS = {
    "average": Table(
        AverageOptions,
        {
            "prefix": "x",
            **_PATHS,
            # Tuning's records and split: what judges the ensemble must not choose its members.
            "eval_data": lambda own: "x" if judging_options(own) else None,
            "holdout": 0.5,
            "seed": 0,
        },
        {},
    ),
    "tune": Table(TuneOptions, {"predictions": ["x"], **_PATHS}, {}),
    "merge": Table(MergeOptions, {"members": ["x"], "weights": None, **_PATHS}, {}),
    "package": Table(PackageOptions, {"model": "x", "format": "tgz", **_PATHS}, {}),
}
"""Tables of an ensemble that hold options of a command."""


def check_keys(table: Mapping[str, Any], known: Mapping[str, Any], *, where: str) -> None:
    """Refuse a key that nothing reads.

    Raises:
        RecipeError: At the first such key.
    """
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean `{near[0]}`?" if near else "."
            path = f"{where}.{key}" if where else key
            msg = f"{path}: unknown key{hint} Known: {', '.join(sorted(known))}."
            raise RecipeError(msg, where=where, key=key)


def check_names(table: Any, *, where: str) -> Mapping[str, Any]:
    """Return a table of named tables whose names can be names of files.

    Raises:
        RecipeError: If it is no table, or a name holds other characters.
    """
    if not isinstance(table, Mapping):
        msg = f"{where}: expected a table of tables by name, got {table!r:.60}."
        raise RecipeError(msg, where=where)
    for name in table:
        if not re.fullmatch(NAME, name):
            msg = (
                f"{where}: {name!r:.60} is no name; it becomes a file name, so use letters, "
                "digits, `_`, `-` and `.`, and no `.` or `-` first."
            )
            raise RecipeError(msg, where=where, name=name)
    return table


def recipe_schema() -> dict[str, Any]:
    """Return the JSON schema of recipes, draft 2020-12."""
    names = {"patternProperties": {f"^{NAME}$": {}}, "additionalProperties": False}
    members = {"anyOf": [MEMBER.schema() | {"required": ["model"]}, READY_MEMBER.schema()]}
    ensemble = ENSEMBLE.schema()
    ensemble["properties"] |= {
        "train": TRAIN.schema(),
        "members": {"type": "object", "minProperties": 1, **names}
        | {"patternProperties": {f"^{NAME}$": members}},
        **{key: table.schema() for key, table in COMMANDS.items()},
    }
    ensemble["required"] = [*ensemble["required"], "members"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Recipe of yt8m-ens",
        "type": "object",
        "properties": {
            "out": {"type": "string", "description": "Directory of all artifacts."},
            "imports": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Python files that register architectures of your own.",
            },
            "seed": {"type": "integer", "minimum": 0, "description": "Seed of every draw."},
            "synth": {"type": "object", "additionalProperties": False}
            | {"patternProperties": {f"^{NAME}$": SYNTH.schema()}},
            "ensembles": {"type": "object", "additionalProperties": False}
            | {"patternProperties": {f"^{NAME}$": ensemble}},
        },
        "required": ["out"],
        "additionalProperties": {
            "type": "string",
            "description": "A text that others may use as `{key}`.",
        },
    }


def _checked(item: Field, value: Any, *, where: str) -> Any:
    try:
        return checked(item, value)
    except UsageError as error:
        msg = f"{where}.{item.name}: {error.reason}"
        msg += "" if msg.endswith("?") else "."
        raise RecipeError(msg, where=where, key=item.name, **error.details) from None


def _field_schema(item: Field) -> dict[str, Any]:
    found = msgspec.json.schema(item.type)
    limits = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
    bounds = {limits[name]: bound for name, bound in item.bounds.items()}
    choices = [part for part in found.get("anyOf", [found]) if part.get("type") != "null"]
    for part in choices:
        target = part["items"] if part.get("type") == "array" and "items" in part else part
        if isinstance(target, dict) and target.get("type") in {"integer", "number"}:
            target |= bounds
        if item.spelling.aliases and "enum" in part:
            part["enum"] = [*part["enum"], *item.spelling.aliases]
    # TOML has no null: a key that may be left out is left out.
    schema = choices[0] if len(choices) == 1 else {"anyOf": choices}
    return {**schema, "description": item.help}
