"""Read a recipe: TOML, overrides, `{key}` references; every key checked before anything runs.

    out = "runs/first"                       # artefacts go here; `{out}` in later text
    [synth.video-train]                      # optional: records to make, options of `synth`
    [ensembles.video]                        # data, features, classes of one ensemble
    [ensembles.video.train]                  # options of `train` that its members share
    [ensembles.video.members.moe2]           # options of one member; or `path` of a trained one
    [ensembles.video.average|tune|merge|package]   # options of these commands

Never runs a step.
"""

from __future__ import annotations

import difflib
import inspect
import json
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from yt8m_ensemble import files
from yt8m_ensemble.errors import RecipeError
from yt8m_ensemble.steps.avg_ckpt import average_checkpoints
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.package import package_model
from yt8m_ensemble.steps.synth import synthesize
from yt8m_ensemble.steps.train import choose_features, split_settings
from yt8m_ensemble.steps.tune_weights import tune_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from yt8m_ensemble.values import FeatureSpec

# What the recipe itself decides in each step, and a table may therefore not set.
_DECIDED = {"out", "force", "dry_run", "progress"}
_ENSEMBLE_KEYS = {
    "train_data",
    "validate_data",
    "features",
    "feature_names",
    "feature_sizes",
    "num_classes",
    "batch_size",
    "train",
    "members",
    "average",
    "tune",
    "merge",
    "package",
}


@dataclass(frozen=True)
class EnsembleTable:
    """Hold one `[ensembles.<name>]` table.

    Args:
        name: Its name.
        validate_data: Globs of the records that weights are tuned and reported on.
        members: By member name, the settings of its training; or only `path`.
        train_data: Globs of the records that members are trained on.
        features: What members read.
        num_classes: Classes.
        batch_size: Videos a batch when scoring; `None` leaves it to each command.
        average: Options of `avg-ckpt`; `None` takes the last checkpoints.
        tune: Options of `tune-weights`.
        merge: Options of `merge`.
        package: Options of `package`.
    """

    name: str
    validate_data: str
    members: Mapping[str, Mapping[str, Any]]
    train_data: str | None
    features: FeatureSpec
    num_classes: int
    batch_size: int | None
    average: Mapping[str, Any] | None
    tune: Mapping[str, Any]
    merge: Mapping[str, Any]
    package: Mapping[str, Any]


@dataclass(frozen=True)
class Recipe:
    """Hold a recipe that has been checked.

    Args:
        path: Its file.
        out: Where all artefacts go.
        synth: By name, the options of `synth`.
        ensembles: The ensembles in order.
    """

    path: str
    out: str
    synth: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ensembles: tuple[EnsembleTable, ...] = ()


def load_recipe(path: str, overrides: Mapping[str, str] | None = None) -> Recipe:
    """Read and check a recipe.

    Args:
        path: The TOML file.
        overrides: By dotted key, a new value as TOML or plain text, e.g. `video.tune.step = "0.1"`;
            `ensembles.` may be left out.

    Returns:
        The recipe.

    Raises:
        RecipeError: If the file is missing or no TOML, or a key is unknown or lacks its value.
    """
    if not files.exists(path):
        msg = f"There is no recipe '{path}'. Recipes to start from are in `recipes/`."
        raise RecipeError(msg, path=path)
    try:
        document = tomllib.loads(files.read_text(path))
    except tomllib.TOMLDecodeError as error:
        msg = f"'{path}' is not TOML: {error}."
        raise RecipeError(msg, path=path) from error
    for key, value in (overrides or {}).items():
        _override(document, key, value)
    names = {key: value for key, value in document.items() if isinstance(value, str)}
    document = _expand(document, _expand(names, names))
    tables = {"synth", "ensembles"}
    extra = [key for key, value in document.items() if isinstance(value, dict)]
    _check_keys(extra, tables, where=f"'{path}'")
    if "out" not in document:
        msg = f"'{path}' does not say where artefacts go. Add `out = \"runs/name\"` at its top."
        raise RecipeError(msg, path=path)
    synth = document.get("synth", {})
    for name, table in synth.items():
        _check_options(table, synthesize, where=f"[synth.{name}]")
    ensembles = tuple(
        _ensemble(name, table, seed=document.get("seed", 0))
        for name, table in document.get("ensembles", {}).items()
    )
    return Recipe(path, document["out"], synth, ensembles)


def _ensemble(name: str, table: Mapping[str, Any], *, seed: int) -> EnsembleTable:
    """Return a checked ensemble table.

    Raises:
        RecipeError: If a key is unknown or missing.
    """
    where = f"[ensembles.{name}]"
    _check_keys(table, _ENSEMBLE_KEYS, where=where)
    for key in ("validate_data", "features", "num_classes", "members"):
        if key not in table:
            msg = f"{where} lacks `{key}`."
            raise RecipeError(msg, where=where, key=key)
    shared = {"seed": seed, **table.get("train", {})}
    members: dict[str, Mapping[str, Any]] = {}
    for member, own in table["members"].items():
        if "path" in own:
            _check_keys(own, {"path"}, where=f"{where[:-1]}.members.{member}]")
            members[member] = own
            continue
        if "model" not in own or "train_data" not in table:
            msg = f"{where} member '{member}' needs `model` and the ensemble `train_data`."
            raise RecipeError(msg, where=where, member=member)
        members[member] = {**shared, **own}
        # Training checks its settings too, but only after the members before it were trained.
        split_settings(own["model"], {k: v for k, v in members[member].items() if k != "model"})
    average = table.get("average")
    for key, function in (
        ("average", average_checkpoints),
        ("tune", tune_weights),
        ("merge", merge_models),
        ("package", package_model),
    ):
        _check_options(table.get(key, {}), function, where=f"{where[:-1]}.{key}]")
    if not 0 < table.get("tune", {}).get("holdout", 0.5) < 1:
        # The report is of held-out videos; without any it would fail after hours of work.
        msg = f"{where[:-1]}.tune] has `holdout` outside (0, 1); the report needs videos held out."
        raise RecipeError(msg, where=where, key="holdout")
    return EnsembleTable(
        name=name,
        validate_data=table["validate_data"],
        members=members,
        train_data=table.get("train_data"),
        features=choose_features(
            table["features"],
            names=table.get("feature_names"),
            sizes=table.get("feature_sizes"),
        ),
        num_classes=table["num_classes"],
        batch_size=table.get("batch_size"),
        average=average,
        tune={"seed": seed, **table.get("tune", {})},
        merge=table.get("merge", {}),
        package=table.get("package", {}),
    )


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


def _check_options(table: Mapping[str, Any], step: Callable[..., Any], *, where: str) -> None:
    _check_keys(table, set(inspect.signature(step).parameters) - _DECIDED, where=where)


def _check_keys(keys: Collection[str], known: Collection[str], *, where: str) -> None:
    """Refuse a key that nothing reads.

    Raises:
        RecipeError: At the first such key.
    """
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean `{near[0]}`?" if near else "."
            msg = f"{where} has an unknown key `{key}`{hint} Known: {', '.join(sorted(known))}."
            raise RecipeError(msg, where=where, key=key)


def describe(value: Any) -> str:
    """Return options as text that is the same for the same options."""
    return json.dumps(value, sort_keys=True, default=str)
