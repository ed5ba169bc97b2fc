"""The step behind `train`: check everything, then train one model into its directory."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import find_steps
from yt8m_ensemble.constants import FEATURE_SIZES, FLAGS_FILE, MAX_FRAMES
from yt8m_ensemble.data import survey_records
from yt8m_ensemble.errors import ModelError, TrainingError, UsageError
from yt8m_ensemble.locks import lock
from yt8m_ensemble.models import declare_variables, make_model, model_options
from yt8m_ensemble.models.user_modules import import_files
from yt8m_ensemble.options import (
    FeatureOptions,
    TrainingOptions,
    TrainOptions,
    command,
    fields_of,
)
from yt8m_ensemble.parts import remove_stale_parts
from yt8m_ensemble.provenance import format_provenance, provenance_path
from yt8m_ensemble.training import read_cluster, train
from yt8m_ensemble.values import Checkpoint, FeatureSpec, ModelFlags, TensorSpec, parse_flags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yt8m_ensemble.models.architecture import Architecture
    from yt8m_ensemble.training.cluster import Cluster

HASHED_BYTES = 1_000_000_000
"""Records of up to this size in all are hashed for the provenance file; a second or two."""

DEFAULT_NAMES = {"video": "mean_rgb,mean_audio", "frame": "rgb,audio"}
_OWN_FILES = (
    "model.ckpt-*",
    "checkpoint",
    FLAGS_FILE,
    "events.out.tfevents.*",
    "train.provenance.json",
    "ema.ckpt-*",
    "validation.json",
)


@command(TrainOptions)
def train_model(options: TrainOptions) -> Checkpoint:
    """Train a model, or go on with one that is in the directory already.

    Returns:
        The last checkpoint.

    Raises:
        ModelError: If the architecture does not fit, or the directory holds another model.
        DataError: If no record file is found, or a record is bad.
        TrainingError: If the loss becomes infinite or not a number, or another process trains
            into the directory.
    """
    with ExitStack() as stack:
        run = _prepare(options)
        if run.cluster.is_chief:
            _lock(options.train_dir, stack)
            _survey(options, run)
        return _train(options, run)


def _train(options: TrainOptions, run: _Run) -> Checkpoint:
    train_dir = options.train_dir.rstrip("/")
    if run.cluster.is_chief:
        if options.start_new_model:
            _remove_old_run(train_dir)
        files.write_text(f"{train_dir}/{FLAGS_FILE}", run.flags.to_json(), force=True)
    checkpoint = train(
        options.train_dir,
        run.paths,
        flags=run.flags,
        options=options,
        validation_paths=run.validation_paths,
        cluster=run.cluster,
        progress=options.progress,
    )
    if run.cluster.is_chief:
        text = format_provenance(
            command="train",
            inputs=_digest_records(run.paths),
            options=options,
            flags={"model": options.model, **run.flags.options},
            first_step=run.steps[-1] if run.steps else 0,
            last_step=checkpoint.global_step,
        )
        files.write_text(provenance_path(f"{train_dir}/train"), text, force=True)
    return checkpoint


def _survey(options: TrainOptions, run: _Run) -> None:
    if options.on_warning is None:
        return
    features, num_classes = run.flags.features, run.flags.num_classes
    for warning in survey_records(run.paths, features=features, num_classes=num_classes):
        options.on_warning(warning)


def _lock(train_dir: str, stack: ExitStack) -> None:
    """Keep a second run out of a directory while the stack is open.

    Raises:
        TrainingError: If one is training into it.
    """
    if files.is_remote(train_dir):
        return
    Path(train_dir).mkdir(parents=True, exist_ok=True)
    try:
        stack.enter_context(lock(str(Path(train_dir, "train")), wait=False))
    except BlockingIOError as error:
        msg = (
            f"Another process is training into '{train_dir}'. Wait for it, or choose another "
            "`--train-dir`."
        )
        raise TrainingError(msg, train_dir=train_dir) from error
    # A run that was killed may have been saving a step at which this one does not save.
    remove_stale_parts(Path(train_dir))


@command(TrainOptions)
def plan_train_model(options: TrainOptions) -> Checkpoint:
    """Check everything that `train_model` needs; read no record and write nothing.

    Returns:
        The checkpoint that training would start from, with the variables of the model.
    """
    run = _prepare(options)
    step = run.steps[-1] if run.steps else 0
    declared = declare_variables(run.model, run.flags.features, options.num_classes)
    specs = {name: TensorSpec(name, v.shape, "float32") for name, v in declared.items()}
    return Checkpoint(f"{options.train_dir.rstrip('/')}/model.ckpt-{step}", step, specs)


@dataclass(frozen=True)
class _Run:
    """A training run whose options and directory have been checked."""

    model: Architecture
    flags: ModelFlags
    paths: list[str]
    validation_paths: list[str]
    cluster: Cluster
    steps: list[int]


def _prepare(options: TrainOptions) -> _Run:
    import_files(options.imports)
    features = choose_features(options)
    chosen = {**options.model_options, **(options.own_options or {})}
    model = make_model(options.model, chosen, frame_level=options.features == "frame")
    flags = ModelFlags(
        options.model, features, options.num_classes, options.loss, model_options(model)
    )
    paths = files.expand_globs(options.train_data, option="--train-data")
    validation = options.validation_data
    validation_paths = (
        files.expand_globs(validation, option="--validation-data") if validation else []
    )
    steps = [] if options.start_new_model else find_steps(options.train_dir)
    flags_path = f"{options.train_dir.rstrip('/')}/{FLAGS_FILE}"
    if steps and files.exists(flags_path):
        found = parse_flags(files.read_bytes(flags_path), path=flags_path)
        _check_same_model(flags, found, options.train_dir)
    return _Run(model, flags, paths, validation_paths, read_cluster(), steps)


def choose_features(options: FeatureOptions) -> FeatureSpec:
    """Make a feature spec, with YouTube-8M's names and sizes where none are given.

    Args:
        options: Level, names and sizes; sizes are needed only for names that YouTube-8M lacks.

    Returns:
        The spec.

    Raises:
        UsageError: If a size is missing.

    Examples:
        >>> choose_features(FeatureOptions(feature_names="mean_rgb")).sizes
        (1024,)
    """
    names, sizes = options.feature_names or DEFAULT_NAMES[options.features], options.feature_sizes
    if sizes is None:
        unknown = [name for name in names.split(",") if name.strip() not in FEATURE_SIZES]
        if unknown:
            msg = f"The size of feature '{unknown[0]}' is not known. Set `--feature-sizes`."
            raise UsageError(msg, option="--feature-sizes", names=unknown)
        sizes = ",".join(str(FEATURE_SIZES[name.strip()]) for name in names.split(","))
    is_frame_level = options.features == "frame"
    if not is_frame_level and options.max_frames != MAX_FRAMES:
        msg = "`--max-frames` cuts frames; these features are of whole videos. Leave it out."
        raise UsageError(msg, option="--max-frames")
    return FeatureSpec.parse(
        names, sizes, frame_level=is_frame_level, max_frames=options.max_frames
    )


def split_settings(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the settings of a recipe's member.

    Args:
        settings: Options of training and of the architecture by name, and `model`.

    Returns:
        The options of training, and those of the architecture.
    """
    own = fields_of(TrainingOptions)
    training = {key: value for key, value in settings.items() if key in own}
    rest = {k: v for k, v in settings.items() if k not in own and k != "model"}
    return training, rest


def _check_same_model(flags: ModelFlags, found: Mapping[str, Any], train_dir: str) -> None:
    """Refuse to go on with another model than the directory holds.

    Raises:
        ModelError: If an option differs; carries `different`, old and new value by name.
    """
    wanted = json.loads(flags.to_json())
    if flags.features.frame_level:
        # Only another limit than that of the official readers is written down.
        wanted = {"max_frames": MAX_FRAMES, **wanted}
        found = {"max_frames": MAX_FRAMES, **found}
    # The starter code writes few keys, and its `model` may be a default that was never used.
    own = "num_classes" in found
    different = {
        key: (found[key], value)
        for key, value in wanted.items()
        if key in found and found[key] != value and (own or key != "model")
    }
    if different:
        key, (old, new) = next(iter(different.items()))
        others = [f"{k} {was!r} → {now!r}" for k, (was, now) in list(different.items())[1:]]
        more = f"; also {', '.join(others)}" if others else ""
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


def _remove_old_run(directory: str) -> None:
    """Remove what training wrote, and nothing else."""
    for name in files.list_dir(directory):
        if any(fnmatchcase(name, pattern) for pattern in _OWN_FILES):
            files.remove(f"{directory}/{name}")
    files.remove_tree(f"{directory}/export")
