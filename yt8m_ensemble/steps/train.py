"""The step behind `train`: check everything, then train one model into its directory."""

from __future__ import annotations

import difflib
import json
import shutil
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import find_steps
from yt8m_ensemble.constants import FEATURE_SIZES, FLAGS_FILE
from yt8m_ensemble.errors import ModelError, UsageError
from yt8m_ensemble.models import convert_option, declare_variables, make_model, model_options
from yt8m_ensemble.provenance import write_provenance
from yt8m_ensemble.training import LOSSES, OPTIMIZERS, TrainOptions, read_cluster, train
from yt8m_ensemble.values import (
    Checkpoint,
    FeatureSpec,
    ModelFlags,
    Option,
    Progress,
    TensorSpec,
    no_progress,
    parse_flags,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HASHED_BYTES = 1_000_000_000
"""Records of up to this size in all are hashed for the provenance file; a second or two."""

DEFAULT_NAMES = {"video": "mean_rgb,mean_audio", "frame": "rgb,audio"}
TRAIN_ARGUMENTS = (
    "model", "train_data", "train_dir", "num_classes", "start_new_model", "dry_run",
)  # fmt: skip
"""Arguments of `train_model` that are options of the command under the same name."""
_OWN_FILES = (
    "model.ckpt-*",
    "checkpoint",
    FLAGS_FILE,
    "events.out.tfevents.*",
    "train.provenance.json",
    "ema.ckpt-*",
    "validation.json",
)


def train_model(
    *,
    model: str,
    train_data: str,
    train_dir: str,
    features: FeatureSpec,
    num_classes: int,
    settings: Mapping[str, Option | None],
    start_new_model: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> Checkpoint:
    """Train a model, or go on with one that is in the directory already.

    Args:
        model: Name of the architecture.
        train_data: Comma-separated globs of record files.
        train_dir: Where checkpoints, `model_flags.json` and event files go.
        features: What to read from the records.
        num_classes: Classes.
        settings: Fields of `TrainOptions` and options of the architecture, in one mapping as on
            the command line (with underscores); those missing or `None` keep their defaults.
        start_new_model: Remove what an earlier run left in the directory, and start at step 0.
        dry_run: Check everything and read no record.
        progress: Told of every step.

    Returns:
        The last checkpoint; of a dry run, the one that training would start from.

    Raises:
        UsageError: If a name or number in `settings` is not known or out of range.
        ModelError: If the architecture does not fit, or the directory holds another model.
        DataError: If no record file is found, or a record is bad.
        TrainingError: If the loss becomes infinite or not a number.
    """
    training, architecture = split_settings(model, settings)
    made = make_model(model, architecture, frame_level=features.frame_level)
    flags = ModelFlags(model, features, num_classes, training.loss, model_options(made))
    paths = files.expand_globs(train_data, option="--train-data")
    validation_paths = (
        files.expand_globs(training.validation_data, option="--validation-data")
        if training.validation_data
        else []
    )
    cluster = read_cluster()
    steps = [] if start_new_model else find_steps(train_dir)
    flags_path = f"{train_dir.rstrip('/')}/{FLAGS_FILE}"
    if steps and files.exists(flags_path):
        _check_same_model(
            flags, parse_flags(files.read_text(flags_path), path=flags_path), train_dir
        )
    if dry_run:
        step = steps[-1] if steps else 0
        declared = declare_variables(made, features, num_classes)
        specs = {name: TensorSpec(name, v.shape, "float32") for name, v in declared.items()}
        return Checkpoint(f"{train_dir.rstrip('/')}/model.ckpt-{step}", step, specs)
    if cluster.is_chief:
        if start_new_model:
            _remove_old_run(Path(train_dir))
        files.write_text(flags_path, flags.to_json(), force=True)
    checkpoint = train(
        train_dir,
        paths,
        flags=flags,
        options=training,
        validation_paths=validation_paths,
        cluster=cluster,
        progress=progress,
    )
    if not cluster.is_chief:
        return checkpoint
    write_provenance(
        f"{train_dir.rstrip('/')}/train",
        command="train",
        inputs=_digest_records(paths),
        options={f.name: getattr(training, f.name) for f in fields(training)},
        flags={"model": model, **flags.options},
        first_step=steps[-1] if steps else 0,
        last_step=checkpoint.global_step,
    )
    return checkpoint


def choose_features(
    level: str, *, names: str | None = None, sizes: str | None = None
) -> FeatureSpec:
    """Make a feature spec, with YouTube-8M's names and sizes where none are given.

    Args:
        level: `video` or `frame`.
        names: Comma-separated; both features of YouTube-8M if not given.
        sizes: Comma-separated; needed only for names that YouTube-8M does not have.

    Returns:
        The spec.

    Raises:
        UsageError: If the level is neither, or a size is missing.

    Examples:
        >>> choose_features("video", names="mean_rgb").sizes
        (1024,)
    """
    if level not in DEFAULT_NAMES:
        msg = f"`--features` is '{level}', expected 'video' or 'frame'."
        raise UsageError(msg, option="--features", value=level)
    names = names or DEFAULT_NAMES[level]
    if sizes is None:
        unknown = [name for name in names.split(",") if name.strip() not in FEATURE_SIZES]
        if unknown:
            msg = f"The size of feature '{unknown[0]}' is not known. Set `--feature-sizes`."
            raise UsageError(msg, option="--feature-sizes", names=unknown)
        sizes = ",".join(str(FEATURE_SIZES[name.strip()]) for name in names.split(","))
    return FeatureSpec.parse(names, sizes, frame_level=level == "frame")


def split_settings(
    model: str, settings: Mapping[str, Option | None]
) -> tuple[TrainOptions, dict[str, Option]]:
    """Part training options from architecture options.

    Args:
        model: Name of the architecture; a name that is not known is an error of `make_model`.
        settings: Both kinds by name; `None` means the default.

    Returns:
        The training options, and the rest.

    Raises:
        UsageError: If a loss, an optimizer or a name is not known.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    ours = {field.name: type(field.default) for field in fields(TrainOptions)}
    own = {k: convert_option("training", k, v, ours[k]) for k, v in given.items() if k in ours}
    training = TrainOptions(**own)  # type: ignore[arg-type]
    for option, table in (("loss", LOSSES), ("optimizer", OPTIMIZERS)):
        value = getattr(training, option)
        if value not in table:
            close = difflib.get_close_matches(value, table, n=1, cutoff=0.0)[0]
            msg = f"`--{option}` is '{value}'; did you mean '{close}'? Known: {', '.join(table)}."
            raise UsageError(msg, option=f"--{option}", value=value, nearest=close)
    rest = {name: value for name, value in given.items() if name not in ours}
    known = set(model_options(make_model(model)))
    for name in rest:
        if name not in known:
            close_names = difflib.get_close_matches(name, {*ours, *known}, n=1)
            hint = f"; did you mean '{close_names[0]}'?" if close_names else ""
            options = ", ".join(sorted(known)) or "none"
            msg = f"{model} has no option '{name}'{hint} Its options: {options}."
            raise UsageError(msg, option=name, model=model)
    make_model(model, rest)  # refuses values that no option takes
    return training, rest


def _check_same_model(flags: ModelFlags, found: Mapping[str, Any], train_dir: str) -> None:
    """Refuse to go on with another model than the directory holds.

    Raises:
        ModelError: If an option differs; carries `different`, old and new value by name.
    """
    wanted = json.loads(flags.to_json())
    # The starter code writes few keys, and its `model` may be a default that was never used.
    own = "num_classes" in found
    different = {
        key: (found[key], value)
        for key, value in wanted.items()
        if key in found and found[key] != value and (own or key != "model")
    }
    if different:
        key, (old, new) = next(iter(different.items()))
        more = f"; {len(different) - 1} more options differ" if len(different) > 1 else ""
        msg = (
            f"'{train_dir}' was trained with {key}={old!r}, now it is {new!r}{more}. "
            "Train with the same options, in another `--train-dir`, or with `--start-new-model`."
        )
        raise ModelError(msg, train_dir=train_dir, different=different)


def _digest_records(paths: Sequence[str]) -> dict[str, str]:
    """Return the digest of each file, or none where they are too large to hash in passing."""
    local = [path for path in paths if not files.is_remote(path)]
    if len(local) < len(paths) or sum(Path(p).stat().st_size for p in local) > HASHED_BYTES:
        return dict.fromkeys(paths, "not hashed")
    return {path: files.sha256(path) for path in paths}


def _remove_old_run(directory: Path) -> None:
    """Remove what training wrote, and nothing else."""
    for pattern in _OWN_FILES:
        for path in directory.glob(pattern):
            path.unlink()
    shutil.rmtree(directory / "export", ignore_errors=True)
