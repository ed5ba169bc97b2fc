"""Read a recipe: TOML, overrides, `{key}` references; every key checked before anything runs.

    out = "runs/first"                       # artefacts go here; `{out}` in later text
    [synth.video-train]                      # optional: records to make, options of `synth`
    [ensembles.video]                        # data, features, classes of one ensemble
    [ensembles.video.train]                  # options of `train` that its members share
    [ensembles.video.members.moe2]           # options of one member, also of its own features and
                                             # `train_data`; or `path` of a trained one
    [ensembles.video.average|tune|merge|package]   # options of these commands

Never runs a step.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from yt8m_ensemble import files
from yt8m_ensemble.errors import EnsembleError, RecipeError
from yt8m_ensemble.models import make_model
from yt8m_ensemble.models.user_modules import import_files
from yt8m_ensemble.options import FeatureOptions, TrainingOptions
from yt8m_ensemble.options.recipe import (
    COMMANDS,
    ENSEMBLE,
    MEMBER,
    READY_MEMBER,
    SYNTH,
    TRAIN,
    check_keys,
    check_names,
)
from yt8m_ensemble.steps.train import choose_features, split_settings
from yt8m_ensemble.values import join_features

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yt8m_ensemble.values import FeatureSpec

_TOP = ("out", "seed", "imports", "synth", "ensembles")
_FEATURE_KEYS = ("features", "feature_names", "feature_sizes", "max_frames")
_DATA_KEYS = frozenset({"train_data", *_FEATURE_KEYS})
_MAX_BYTES = 1_000_000
_MAX_DOTS = 1_000
"""In one line: a key of many parts takes a time that grows with their square."""


@dataclass(frozen=True)
class TrainingData:
    """What a member is trained on.

    Args:
        pattern: Globs of its records.
        features: What it reads of them.
    """

    pattern: str
    features: FeatureSpec


@dataclass(frozen=True)
class EnsembleTable:
    """One `[ensembles.<name>]` table, as it stands.

    Args:
        name: Its name.
        validate_data: Globs of the records that weights are tuned and reported on.
        members: By member name, the settings of its training; or only `path`.
        training_data: By name of each member that is trained, what it is trained on.
        features: What the records of `validate_data` hold.
        num_classes: Classes.
        batch_size: Videos a batch when scoring; `None` leaves it to each command.
        average: Options of `avg-ckpt`; `None` takes the last checkpoints.
        tune: Options of `tune-weights`.
        merge: Options of `merge`.
        package: Options of `package`.
        unaveraged: Members whose last checkpoint is taken although others are averaged.
    """

    name: str
    validate_data: str
    members: Mapping[str, Mapping[str, Any]]
    training_data: Mapping[str, TrainingData]
    features: FeatureSpec
    num_classes: int
    batch_size: int | None
    average: Mapping[str, Any] | None
    tune: Mapping[str, Any]
    merge: Mapping[str, Any]
    package: Mapping[str, Any]
    unaveraged: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Recipe:
    """A recipe that has been checked.

    Args:
        path: Its file.
        out: Where all artifacts go.
        synth: By name, the options of `synth`.
        ensembles: The ensembles in order.
        text: The file's text.
        overrides: What replaced values of it.
    """

    path: str
    out: str
    synth: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ensembles: tuple[EnsembleTable, ...] = ()
    text: str = ""
    overrides: Mapping[str, str] = field(default_factory=dict)


def load_recipe(path: str, overrides: Mapping[str, str] | None = None) -> Recipe:
    """Read and check a recipe.

    Args:
        path: The TOML file.
        overrides: By dotted key, a new value as TOML or plain text, e.g. `video.tune.step = "0.1"`;
            `ensembles.` may be left out.

    Returns:
        The recipe.

    Raises:
        RecipeError: If the file is missing or no TOML, or a key is unknown, lacks its value or has
            one that it cannot have.
    """
    if not files.exists(path):
        msg = f"There is no recipe '{path}'. Recipes to start from are in `recipes/`."
        raise RecipeError(msg, path=path)
    content = files.read_bytes(path)
    document = _parse(content, path=path)
    for key, value in (overrides or {}).items():
        _override(document, key, value)
    names = {key: value for key, value in document.items() if isinstance(value, str)}
    document = _expand(document, _expand(names, names))
    for key, value in document.items():
        if key not in _TOP and not isinstance(value, str):
            check_keys({key: value}, dict.fromkeys(_TOP), where="")
    if not isinstance(document.get("out"), str) or not document["out"]:
        msg = f"'{path}' does not say where artifacts go. Add `out = \"runs/name\"` at its top."
        raise RecipeError(msg, path=path)
    imports = document.get("imports", [])
    if not isinstance(imports, list) or not all(isinstance(item, str) for item in imports):
        msg = f"imports: expected a list of Python files, got {imports!r:.60}."
        raise RecipeError(msg, key="imports")
    import_files(imports)
    seed = document.get("seed", 0)
    if type(seed) is not int or seed < 0:
        msg = f"seed: expected an integer of at least 0, got {seed!r:.60}."
        raise RecipeError(msg, key="seed")
    synth = check_names(document.get("synth", {}), where="synth")
    for name, table in synth.items():
        SYNTH.check(table, where=f"synth.{name}")
    ensembles = check_names(document.get("ensembles", {}), where="ensembles")
    return Recipe(
        path,
        document["out"],
        synth,
        tuple(_ensemble(name, table, seed=seed) for name, table in ensembles.items()),
        content.decode("utf-8-sig"),
        overrides or {},
    )


def _parse(data: bytes, *, path: str) -> dict[str, Any]:
    """Return the TOML document.

    Raises:
        RecipeError: If it is none, or larger or deeper than any recipe.
    """
    try:
        text = data.decode("utf-8-sig")
        if len(data) > _MAX_BYTES or any(line.count(".") > _MAX_DOTS for line in text.splitlines()):
            reason = f"it is over {_MAX_BYTES:,} bytes, or a line has over {_MAX_DOTS:,} dots"
        else:
            return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also at an integer of thousands of digits
        reason = "it nests too deeply" if isinstance(error, RecursionError) else str(error)
    msg = f"'{path}' is not TOML: {reason}. Compare it with a recipe in `recipes/`."
    raise RecipeError(msg, path=path, reason=reason)


def _ensemble(name: str, table: Any, *, seed: int) -> EnsembleTable:
    """Return a checked ensemble table.

    Raises:
        RecipeError: If a key is unknown or missing, or a value cannot be.
    """
    tables = {"train", "members", *COMMANDS}
    if not isinstance(table, dict):
        msg = f"{name}: expected a table, got {table!r:.60}."
        raise RecipeError(msg, where=name)
    check_keys(table, dict.fromkeys([*ENSEMBLE.fields, *tables]), where=name)
    own = ENSEMBLE.check({k: v for k, v in table.items() if k not in tables}, where=name)
    features = _features(own, where=name)
    TRAIN.check(table.get("train", {}), where=f"{name}.train")
    shared = {"seed": seed, **table.get("train", {})}
    members: dict[str, dict[str, Any]] = {}
    data: dict[str, TrainingData] = {}
    unaveraged: set[str] = set()
    for member, settings in check_names(table.get("members", {}), where=f"{name}.members").items():
        where = f"{name}.members.{member}"
        if isinstance(settings, dict) and "path" in settings:
            READY_MEMBER.check(settings, where=where)
            members[member] = settings
            continue
        MEMBER.check(settings, where=where)
        pattern = settings.get("train_data", own.get("train_data"))
        if "model" not in settings or pattern is None:
            msg = f"{where}: needs `model`, and `train_data` or that of the ensemble; or a `path`."
            raise RecipeError(msg, where=where, member=member)
        data[member] = TrainingData(pattern, _member_features(settings, own, where=where))
        members[member] = {**shared, **{k: v for k, v in settings.items() if k not in _DATA_KEYS}}
        if not members[member].pop("average", True):
            unaveraged.add(member)
        _check_training(members[member], data[member].features, where=where)
    if not members:
        msg = f"{name}.members: missing, expected a table for each member."
        raise RecipeError(msg, where=name, key="members")
    _check_joint({member: found.features for member, found in data.items()}, features, where=name)
    commands = {
        key: item.check(table.get(key, {}), where=f"{name}.{key}") for key, item in COMMANDS.items()
    }
    if not commands["tune"].get("holdout", 0.5):
        # The report is of held-out videos; without any it would fail after hours of work.
        msg = f"{name}.tune.holdout: expected above 0, got 0; the report needs videos held out."
        raise RecipeError(msg, where=name, key="holdout")
    return EnsembleTable(
        name=name,
        validate_data=own["validate_data"],
        members=members,
        training_data=data,
        features=features,
        num_classes=own["num_classes"],
        batch_size=own.get("batch_size"),
        average=table.get("average"),
        tune={"seed": seed, **table.get("tune", {})},
        merge=table.get("merge", {}),
        package=table.get("package", {}),
        unaveraged=frozenset(unaveraged),
    )


def _member_features(
    settings: Mapping[str, Any], own: Mapping[str, Any], *, where: str
) -> FeatureSpec:
    """Return what a member reads: as it says, else as its ensemble, or the means of that."""
    shared = {key: own[key] for key in _FEATURE_KEYS if key in own}
    if settings.get("features", own["features"]) != own["features"]:
        spec = _features(own, where=where)
        shared = {
            "feature_names": ",".join(f"mean_{name}" for name in spec.names),
            "feature_sizes": ",".join(map(str, spec.sizes)),
        }
    if "feature_names" in settings:
        shared.pop("feature_sizes", None)
    return _features({**shared, **settings}, where=where)


def _check_joint(members: Mapping[str, FeatureSpec], records: FeatureSpec, *, where: str) -> None:
    """Refuse members that could not be merged, or not be judged on the ensemble's records.

    Raises:
        RecipeError: If one feature has two sizes, or a member reads frames and the records hold
            means.
    """
    try:
        joint = join_features({"validate_data": records, **members})
    except EnsembleError as error:
        msg = f"{where}.members: {error}"
        raise RecipeError(msg, where=where, **error.details) from error
    if joint.frame_level and not records.frame_level:
        (name, *_) = [name for name, spec in members.items() if spec.frame_level]
        msg = (
            f"{where}.members.{name}.features: reads frames, expected video, as `validate_data` "
            f'holds; give frame-level records and `{where}.features = "frame"`.'
        )
        raise RecipeError(msg, where=where, member=name)


def _features(own: Mapping[str, Any], *, where: str) -> FeatureSpec:
    try:
        return choose_features(FeatureOptions(**{k: own[k] for k in _FEATURE_KEYS if k in own}))
    except EnsembleError as error:
        msg = f"{where}: {error}"
        raise RecipeError(msg, where=where) from error


def _check_training(settings: Mapping[str, Any], features: FeatureSpec, *, where: str) -> None:
    """Refuse settings that would only fail once the members before were trained.

    Raises:
        RecipeError: If they would.
    """
    try:
        training, model_options = split_settings(settings)
        chosen = {**model_options, **(TrainingOptions(**training).own_options or {})}
        make_model(settings["model"], chosen, frame_level=features.frame_level)
    except EnsembleError as error:
        msg = f"{where}: {error}"
        raise RecipeError(msg, where=where, **error.details) from error


def _override(document: dict[str, Any], key: str, text: str) -> None:
    """Set one dotted key.

    Raises:
        RecipeError: If the key leads through something that is no table.
    """
    parts = key.split(".")
    if len(parts) > 1 and parts[0] not in document and parts[0] in document.get("ensembles", {}):
        parts.insert(0, "ensembles")
    table = document
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            msg = f"`--set {key}`: '{part}' is no table of the recipe."
            raise RecipeError(msg, key=key)
    try:
        table[parts[-1]] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        table[parts[-1]] = text


def _expand(value: Any, names: Mapping[str, str]) -> Any:
    """Return a value with `{key}` replaced by the recipe's top-level texts."""
    if isinstance(value, dict):
        return {key: _expand(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, names) for item in value]
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace(f"{{{name}}}", text)
    return value


def describe(value: Any) -> str:
    """Return options as text that is the same for the same options."""
    return json.dumps(value, sort_keys=True, default=str)
