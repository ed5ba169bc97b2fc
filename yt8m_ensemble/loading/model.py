"""Open any model that a command is given: where it lies, what it reads, its graph and weights.

A path is a train directory (latest checkpoint), `DIR@STEP`, a checkpoint prefix, an
`inference_model` prefix or its directory, a `.meta` with its weights as constants, a `.tgz`, a
SavedModel, a `.keras` or Keras `.h5` model, or a frozen `.pb`.
Runs it only where `OpenModel.predict` is called.
"""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.constants import INFERENCE_MODEL
from yt8m_ensemble.errors import ModelError, ShapeError
from yt8m_ensemble.graphs import (
    ModelGraph,
    frame_draws,
    lift_constants,
    load_frozen_graph,
    load_meta_graph,
    load_saved_model,
    node_name,
)
from yt8m_ensemble.inference import GraphRunner
from yt8m_ensemble.loading.checkpoints import saved_step
from yt8m_ensemble.loading.feature_shapes import read_features, read_num_classes
from yt8m_ensemble.loading.formats import (
    Format,
    detect_format,
    identity_file,
    saved_model_dir,
)
from yt8m_ensemble.loading.paths import find_prefix, optional_flags, read_flags
from yt8m_ensemble.models import build_graph, recognize
from yt8m_ensemble.models.user_modules import import_files
from yt8m_ensemble.options import ModelOptions, keywords
from yt8m_ensemble.packaging import extract_bundle
from yt8m_ensemble.scratch import scratch_directory
from yt8m_ensemble.values import (
    CombinedSource,
    DictSource,
    FeatureSpec,
    TensorSource,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class OpenedFile:
    """What a path that names a model turned out to be.

    Args:
        name: The model's name.
        path: The path given.
        file: What was opened: a prefix, a SavedModel's directory, or a file.
        global_step: The training step of its weights; `None` if they hold none.
    """

    name: str
    path: str
    file: str
    global_step: int | None

    @property
    def label(self) -> str:
        """The file, and its step where its name does not end with that."""
        shown = self.global_step is None or self.file.endswith(f"-{self.global_step}")
        return self.file if shown else f"{self.file} (step {self.global_step:,})"


@dataclass(frozen=True)
class OpenModel:
    """An opened model: its graph, weights and flags.

    Args:
        name: The name given, or one made from the path.
        path: The path given.
        graph: Its inference graph.
        source: Its weights, open.
        features: What it reads.
        num_classes: Classes that it predicts.
        architecture: Name of the architecture, or `graph` if only its meta graph is known.
        flags: `model_flags.json` as it stands.
        digest: SHA-256 of the checkpoint's index, which holds a checksum of every tensor; of the
            meta graph if that is frozen.
        file: What was opened: a prefix, a SavedModel's directory, or a file.
        global_step: The training step of its weights; `None` if they hold none.
    """

    name: str
    path: str
    graph: ModelGraph
    source: TensorSource
    features: FeatureSpec
    num_classes: int
    architecture: str
    flags: Mapping[str, Any]
    digest: str
    file: str
    global_step: int | None

    _stack: ExitStack

    @cached_property
    def _runner(self) -> GraphRunner:
        return self._stack.enter_context(GraphRunner(self.graph, self.source))

    def predict(
        self, features: NDArray[np.floating], num_frames: NDArray[np.integer] | None = None
    ) -> NDArray[np.float32]:
        """Score videos; of a merged model, by its mixture.

        Args:
            features: Shape `(B, F)`, or `(B, T, F)` with at most `max_frames` frames, float32:
                the features that the model reads, concatenated and dequantized.
            num_frames: True frames of each video, shape `(B,)`, integers; `None` for all T.

        Returns:
            Confidences, shape `(B, C)`, float32.

        Raises:
            ShapeError: If the model takes other features.
        """
        values = np.ascontiguousarray(features, np.float32)
        spec = self.features
        rank, most = (3, spec.max_frames) if spec.frame_level else (2, 1)
        frames = values.shape[1] if values.ndim == rank and spec.frame_level else 1
        if values.ndim != rank or values.shape[-1] != spec.total_size or frames > most:
            wanted = f"(B, {'T, ' if spec.frame_level else ''}{spec.total_size})"
            msg = (
                f"'{self.name}' takes features of shape {wanted}, got {values.shape}. It reads "
                f"{', '.join(spec.names)}"
                + (f" and at most {most} frames." if spec.frame_level else ".")
            )
            raise ShapeError(msg, model=self.name, expected=wanted, found=values.shape)
        counts = np.full(len(values), frames) if num_frames is None else np.asarray(num_frames)
        if spec.frame_level and frames < most and self._wants_padding:
            # Graphs of other code may know one number of frames only.
            values = np.pad(values, ((0, 0), (0, most - frames), (0, 0)))
        return self._runner.predict(values, counts.astype(np.int32))

    @property
    def _wants_padding(self) -> bool:
        """Whether frames may or must be padded: by a mask, or a shape of one number of frames."""
        shape = self.graph.input_shape
        return self.graph.takes_frame_counts or (shape is not None and shape[1] is not None)

    @property
    def opened(self) -> OpenedFile:
        """What was opened, for tables and JSON."""
        return OpenedFile(self.name, self.path, self.file, self.global_step)

    @property
    def members(self) -> tuple[str, ...]:
        """Names of its members; its own name if it is a single model."""
        return tuple(self.graph.members) or (self.name,)

    @property
    def depends_on_chance(self) -> bool:
        """Whether its scores vary from run to run."""
        return bool(self.graph.random_operations)

    @property
    def notes(self) -> tuple[str, ...]:
        """What its scores depend on besides the video, and what else its file holds."""
        notes = list(_notes(self.graph, self.path))
        if self.features.frame_level and not self.graph.takes_frame_counts:
            notes.append(
                f"'{self.path}' takes no frame counts: it cannot tell the zeros that fill up a "
                "short video from frames."
            )
        return tuple(notes)

    @property
    def nbytes(self) -> int:
        """Bytes of the weights that inference needs."""
        specs = self.source.specs()
        return sum(specs[spec.name].nbytes for spec in self.graph.variables.values())


@contextmanager
def open_models(
    paths: Sequence[str], options: ModelOptions | None = None
) -> Iterator[list[OpenModel]]:
    """Open several models.

    Args:
        paths: Where they are; `NAME=PATH` names one.
        options: How to open those whose files do not tell everything.

    Yields:
        The models in the order given.

    Raises:
        ModelError: If two have one name.
    """
    with ExitStack() as stack:
        models = [stack.enter_context(open_with(path, options or ModelOptions())) for path in paths]
        names = [name for model in models for name in model.members]
        for name in names:
            if names.count(name) > 1:
                msg = f"Two models are called '{name}'. Name them, as in `{name}_b=PATH`."
                raise ModelError(msg, name=name)
        yield models


@contextmanager
def open_with(path: str, options: ModelOptions) -> Iterator[OpenModel]:
    """Open one model.

    Args:
        path: Where it is; `NAME=PATH` gives it a name.
        options: How to open it if its files do not tell everything.

    Yields:
        The model; its files are open until the context ends.

    Raises:
        ModelError: If the flags are missing or the architecture cannot be told.
    """
    import_files(options.imports)
    name, path = _split_name(path)
    with ExitStack() as stack:
        where = path
        if path.endswith((".tgz", ".tar.gz")):
            where = stack.enter_context(scratch_directory())
            extract_bundle(path, where)
        opened = _OPENERS[detect_format(where)](where, options, stack)
        if where != path:  # unpacked to where nobody looks
            opened = replace(opened, file=path)
        yield OpenModel(name=name or default_name(path), path=path, _stack=stack, **vars(opened))


@dataclass(frozen=True)
class _Opened:
    """What an opener finds; fields as those of `OpenModel`."""

    graph: ModelGraph
    source: TensorSource
    features: FeatureSpec
    num_classes: int
    architecture: str
    flags: Mapping[str, Any]
    digest: str
    file: str
    global_step: int | None


def _open_checkpoint(path: str, options: ModelOptions, stack: ExitStack) -> _Opened:
    """Return a train directory, a checkpoint, or an exported meta graph with or without one."""
    prefix = find_prefix(path)
    has_index = files.exists(f"{prefix}.index")
    is_exported = _base(prefix).startswith(INFERENCE_MODEL) or not has_index
    is_graph = is_exported and files.exists(f"{prefix}.meta") and options.architecture is None
    raw_flags = optional_flags(prefix) if is_graph else read_flags(prefix)
    source: TensorSource = (
        stack.enter_context(open_checkpoint(prefix)) if has_index else DictSource({})
    )
    identity = f"{prefix}.{'index' if has_index else 'meta'}"
    if raw_flags is None or is_graph:
        graph = load_meta_graph(
            f"{prefix}.meta",
            tensors=options.tensors,
            bindings=options.bindings,
            allow_operations=options.allow_operations,
            has_logits=options.logits,
        )
        found = _exported(graph, source, raw_flags, options, path=path, identity=identity)
        return replace(found, file=prefix if has_index else identity)
    if options.num_classes is not None:
        raw_flags = {**raw_flags, "num_classes": options.num_classes}
    flags = recognize(source.specs(), raw_flags, architecture=options.architecture)
    return _Opened(
        build_graph(flags),
        source,
        flags.features,
        flags.num_classes,
        flags.model,
        raw_flags,
        files.sha256(identity),
        prefix,
        saved_step(source),
    )


def _open_saved_model(path: str, options: ModelOptions, stack: ExitStack) -> _Opened:
    """Return a SavedModel; its variables are read as those of any checkpoint."""
    directory = saved_model_dir(path)
    graph = load_saved_model(directory, options)
    prefix = f"{directory}/variables/variables"
    has_index = files.exists(f"{prefix}.index")
    source: TensorSource = (
        stack.enter_context(open_checkpoint(prefix)) if has_index else DictSource({})
    )
    flags = optional_flags(f"{directory}/model")
    return _exported(graph, source, flags, options, path=path, identity=identity_file(path))


def _open_frozen_graph(path: str, options: ModelOptions, _: ExitStack) -> _Opened:
    graph, flags = load_frozen_graph(path, options), optional_flags(path)
    return _exported(graph, DictSource({}), flags, options, path=path, identity=path)


def _open_keras(path: str, options: ModelOptions, _: ExitStack) -> _Opened:
    # Loads Keras, which nothing else needs.
    from yt8m_ensemble.loading.keras_model import load_keras_model

    graph, arrays = load_keras_model(path, options)
    flags = optional_flags(path)
    return _exported(graph, DictSource(arrays), flags, options, path=path, identity=path)


def _exported(
    graph: ModelGraph,
    source: TensorSource,
    flags: Mapping[str, Any] | None,
    options: ModelOptions,
    *,
    path: str,
    identity: str | None,
) -> _Opened:
    """Return a model of which only the graph is known; weights among its constants are lifted."""
    graph, constants = lift_constants(graph)
    features = read_features(graph, flags, options, path=path)
    return _Opened(
        graph,
        CombinedSource(DictSource(constants), source) if constants else source,
        features,
        read_num_classes(graph, flags, options.num_classes, path=path),
        "graph",
        flags or {},
        files.sha256(identity or path),
        path,
        saved_step(source),
    )


_OPENERS: Mapping[Format, Callable[[str, ModelOptions, ExitStack], _Opened]] = {
    "checkpoint": _open_checkpoint,
    "saved model": _open_saved_model,
    "frozen graph": _open_frozen_graph,
    "keras": _open_keras,
}
"""How a model of each format is opened."""

open_model = keywords(ModelOptions)(open_with)


def _notes(graph: ModelGraph, path: str) -> Iterator[str]:
    frames = frame_draws(graph.graph_def, node_name(graph.num_frames))
    for name in graph.random_operations:
        advice = (
            "`yt8m-ens merge --fix-frames` takes evenly spaced frames instead"
            if name in frames
            else "Bind what turns it off, as with `yt8m-ens predict --set`, or export it again"
        )
        yield f"'{name}' in '{path}' draws at random: scores vary from run to run. {advice}."
    for name, value in graph.unfed_defaults.items():
        given = "a computed default" if value is None else f"its default, {value}"
        yield (
            f"The placeholder '{name}' in '{path}' takes {given}. "
            f"Bind it to another value, as with `yt8m-ens predict --set {name}=VALUE`."
        )
    if graph.unreached:
        yield (
            f"'{path}' also holds {len(graph.unreached)} operations that may not run, such as "
            f"{graph.unreached[0]}; nothing reaches them, and they are left out."
        )


def default_name(path: str) -> str:
    """Return a name for a model, made from its path.

    Examples:
        >>> default_name("runs/moe2"), default_name("runs/moe2@500"), default_name("a/blend.tgz")
        ('moe2', 'moe2_500', 'blend')
        >>> default_name("runs/moe2/model.ckpt-500"), default_name("blend/inference_model")
        ('moe2_500', 'blend')
    """
    base = re.sub(r"\.(tgz|tar\.gz|index|meta|keras|h5|hdf5|pb)$", "", path.rstrip("/"))
    parent = Path(base).parent.name
    base = re.sub(r"model\.ckpt-(\d+)$", rf"{parent}_\1" if parent else r"\1", _base(base))
    if base == INFERENCE_MODEL and parent:
        base = parent
    return re.sub(r"[^A-Za-z0-9_.-]", "_", base)


def _split_name(path: str) -> tuple[str | None, str]:
    match = re.fullmatch(r"([A-Za-z0-9_.][A-Za-z0-9_.-]*)=(.+)", path)
    return (match[1], match[2]) if match else (None, path)


def _base(path: str) -> str:
    return path.rpartition("/")[2]
