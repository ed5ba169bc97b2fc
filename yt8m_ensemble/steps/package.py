"""`package`: inference model → the one archive that the official readers load, or a SavedModel."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import CheckpointWriter, finite_blocks, open_checkpoint
from yt8m_ensemble.companions import CARD_ENDING
from yt8m_ensemble.constants import (
    BIAS_VARIABLE,
    FLAGS_FILE,
    INFERENCE_MODEL,
    MIXTURE_VARIABLE,
    TEMPERATURE_VARIABLE,
)
from yt8m_ensemble.errors import BundleError, MixtureWeightsError
from yt8m_ensemble.graphs import check_exported_graph, load_meta_graph, read_meta_graph
from yt8m_ensemble.merging import write_saved_model
from yt8m_ensemble.options import PackageOptions, command
from yt8m_ensemble.packaging import (
    check_bundle_size,
    describe_saved_model,
    member_of,
    plan_size_reduction,
    write_bundle,
)
from yt8m_ensemble.packaging.mixture import find_mixture_constants, replace_mixture_constants
from yt8m_ensemble.provenance import write_provenance
from yt8m_ensemble.reporting.card import make_card
from yt8m_ensemble.scratch import scratch_directory
from yt8m_ensemble.values import (
    Bundle,
    MixtureWeights,
    Progress,
    TensorSpec,
    parse_feature_spec,
    parse_flags,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from yt8m_ensemble.options.shared import Mixture

_BLOCK_VALUES: Final = 1 << 20


@dataclass(frozen=True)
class PlannedPackage:
    """Result of `plan_package_model`.

    Args:
        out: The archive or SavedModel.
        nbytes: Uncompressed bytes of its files.
        member_bytes: Checkpoint bytes by ensemble member.
        weights: The mixture that is put in; `None` if the model's own is kept.
    """

    out: str
    nbytes: int
    member_bytes: Mapping[str, int]
    weights: MixtureWeights | None


@dataclass(frozen=True)
class PackageResult(PlannedPackage):
    """Result of `package_model`.

    Args:
        bundle: What was written.
    """

    bundle: Bundle


@command(PackageOptions)
def package_model(options: PackageOptions) -> PackageResult:
    """Pack an inference model, with its own mixture weights or others.

    A model that is too large, or that lacks a file, is refused before anything is written. Members
    of other weights are matched by name.

    Returns:
        What was packed.
    """
    planned = plan_package_model.run(options)
    model, mixture = options.model, planned.weights
    describe = partial(_describe, options, mixture)
    with ExitStack() as stack:
        packed = model
        if mixture is not None:
            packed = stack.enter_context(scratch_directory())
            _copy_with_weights(model, packed, mixture, progress=options.progress)
        if options.format == "savedmodel":
            bundle = _write_saved_model(packed, options, describe)
        else:
            bundle = write_bundle(
                packed,
                options.out,
                max_size=options.max_size,
                force=options.force,
                describe=describe,
            )
    return PackageResult(options.out, bundle.nbytes, planned.member_bytes, mixture, bundle)


def _describe(
    options: PackageOptions, mixture: MixtureWeights | None, bundle: Bundle, part: str
) -> None:
    """Write provenance and card of what was packed, which has a temporary name so far."""
    model = options.model
    card = make_card(model, options.out, mixture, kind=options.format) if options.card else None
    if card is not None:
        files.write_part(f"{part}{CARD_ENDING}", card.to_markdown())
    write_provenance(
        part,
        command="package",
        # The index holds a checksum of every tensor.
        inputs={model: files.sha256(f"{model}/{INFERENCE_MODEL}.index")},
        options=options,
        weights=dict(zip(mixture.names, mixture.values, strict=True)) if mixture else None,
        files={member.name: member.sha256 for member in bundle.members},
        **({"card": asdict(card)} if card else {}),
    )


@command(PackageOptions)
def plan_package_model(options: PackageOptions) -> PlannedPackage:
    """Check what `package_model` would pack; write nothing.

    Returns:
        The sizes, and the mixture that would be put in.
    """
    files.check_absent(options.out, force=options.force)
    files.check_absent(f"{options.out}{CARD_ENDING}", force=options.force)
    model = options.model
    parts = _read_parts(model)
    sizes = check_bundle_size(
        model,
        options.out,
        max_size=options.max_size if options.format == "tgz" else sys.maxsize,
        member_bytes=parts.nbytes,
        plan=lambda excess: plan_size_reduction(
            parts.specs, excess=excess, member_bytes=parts.nbytes, member_weights=parts.weights
        ),
    )
    meta = f"{model}/{INFERENCE_MODEL}.meta"
    check_exported_graph(
        read_meta_graph(meta), path=meta, allow_operations=options.allow_operations
    )
    _check_weights(model)
    mixture = None
    if options.weights is not None:
        flags = parse_flags(files.read_bytes(f"{model}/{FLAGS_FILE}"), path=f"{model}/{FLAGS_FILE}")
        mixture = _matching_mixture(flags, options.weights, model=model)
    return PlannedPackage(options.out, sum(sizes.values()), parts.nbytes, mixture)


def _write_saved_model(
    model: str, options: PackageOptions, describe: Callable[[Bundle, str], None]
) -> Bundle:
    """Write the SavedModel of an inference model's directory.

    Returns:
        Its files.

    Raises:
        BundleError: If neither graph nor flags tell the number of classes.
    """
    path = f"{model}/{FLAGS_FILE}"
    content = files.read_bytes(path)
    flags = parse_flags(content, path=path)
    graph = load_meta_graph(
        f"{model}/{INFERENCE_MODEL}.meta", allow_operations=options.allow_operations
    )
    num_classes = graph.num_classes or flags.get("num_classes")
    if num_classes is None:
        msg = (
            f"Neither graph nor flags of '{options.model}' tell how many classes it predicts. Add "
            f"`num_classes` to its {FLAGS_FILE}."
        )
        raise BundleError(msg, path=options.model)
    with (
        open_checkpoint(f"{model}/{INFERENCE_MODEL}") as source,
        files.atomic_directory(options.out, force=options.force) as directory,
    ):
        write_saved_model(
            graph,
            source,
            flags=content,
            features=parse_feature_spec(flags),
            num_classes=num_classes,
            directory=directory,
        )
        bundle = replace(describe_saved_model(directory), path=options.out)
        describe(bundle, directory)
    return bundle


def _check_weights(model: str) -> None:
    """Read every weight of a model, if it has a checkpoint: nobody would look at them again.

    Raises:
        CheckpointError: If one is damaged, NaN or infinite.
    """
    if not files.exists(f"{model}/{INFERENCE_MODEL}.index"):
        return
    with open_checkpoint(f"{model}/{INFERENCE_MODEL}") as source:
        for name in source.specs():
            flat = source.read(name).reshape(-1)
            blocks = (flat[at : at + _BLOCK_VALUES] for at in range(0, flat.size, _BLOCK_VALUES))
            for _ in finite_blocks(blocks, name=name, place=model):
                pass


def _matching_mixture(
    flags: Mapping[str, Any], weights: Mixture | str, *, model: str
) -> MixtureWeights:
    """Return the mixture in the order of the model's members.

    Raises:
        MixtureWeightsError: If it is over other members, or taken in another space.
    """
    path = weights if isinstance(weights, str) else "the mixture"
    if isinstance(weights, str):
        weights = MixtureWeights.parse(files.read_bytes(weights), path=weights)
    if not isinstance(weights, MixtureWeights):
        msg = f"`weights` is a {type(weights).__name__}, expected MixtureWeights or a path."
        raise MixtureWeightsError(msg, found=type(weights).__name__)
    members, space = tuple(flags.get("members", ())), flags.get("mix")
    if set(weights.names) != set(members):
        msg = (
            f"'{path}' weighs {', '.join(weights.names)}, but the members of '{model}' are "
            f"{', '.join(members) or 'not named'}. Tune weights for these members, or merge again."
        )
        raise MixtureWeightsError(msg, mixture=weights.names, members=members)
    if weights.space != space:
        msg = (
            f"'{path}' mixes by {weights.space}, but the graph in '{model}' mixes by {space}. "
            f"Merge again with `yt8m-ens merge --mix {weights.space}`."
        )
        raise MixtureWeightsError(msg, mixture=weights.space, model=space)
    return weights.reordered(members)


def _copy_with_weights(
    model: str, directory: str, mixture: MixtureWeights, *, progress: Progress
) -> None:
    """Write the model anew with other mixture weights; of its graph only such constants change."""
    path = f"{model}/{INFERENCE_MODEL}.meta"
    meta = read_meta_graph(path)
    constants = find_mixture_constants(meta.graph_def)
    with open_checkpoint(f"{model}/{INFERENCE_MODEL}") as source:
        specs = source.specs()
        held = _held_values({**specs, **constants}, mixture, model=model)
        total, done = sum(spec.nbytes for spec in specs.values()), 0
        with CheckpointWriter(f"{directory}/{INFERENCE_MODEL}") as writer:
            for name, spec in specs.items():
                writer.add(name, held[name] if name in held else source.read(name))
                done += spec.nbytes
                progress("package", done / 1e6, total / 1e6, unit="MB")
    content = files.read_bytes(path)
    if constants:
        replace_mixture_constants(meta.graph_def, held)
        content = meta.SerializeToString(deterministic=True)
    Path(directory, f"{INFERENCE_MODEL}.meta").write_bytes(content)
    Path(directory, FLAGS_FILE).write_bytes(files.read_bytes(f"{model}/{FLAGS_FILE}"))


def _held_values(
    specs: Mapping[str, TensorSpec], mixture: MixtureWeights, *, model: str
) -> dict[str, NDArray[np.float32]]:
    """Return the values of the mixture's variables or constants in a model.

    Raises:
        BundleError: If the model has no such ones, or of other shapes.
    """
    classes = specs[BIAS_VARIABLE].shape[0] if BIAS_VARIABLE in specs else mixture.num_classes or 0
    held = {}
    for name, values in mixture.graph_values(classes).items():
        found, wanted = specs.get(name), TensorSpec(name, values.shape, "float32")
        # Version 0.1.0 wrote neither bias nor temperature: there the mixture must have none.
        unused = {BIAS_VARIABLE: not mixture.class_bias,
                  TEMPERATURE_VARIABLE: mixture.temperature == 1}  # fmt: skip
        if found is None and unused.get(name):
            continue
        if found != wanted:
            what = {MIXTURE_VARIABLE: "mixture weights", BIAS_VARIABLE: "class bias"}
            state = (
                f"in an array of shape {found.shape}, the new values are {wanted.shape}"
                if found
                else "in no variable or constant of its own"
            )
            msg = (
                f"'{model}' holds its {what.get(name, 'temperature')} {state}, so it cannot be "
                "replaced. Merge again with the new ones, or with `yt8m-ens merge --naming scoped`."
            )
            raise BundleError(msg, path=model, variable=name)
        held[name] = values
    return held


@dataclass(frozen=True)
class _Parts:
    """A model's tensors, and the bytes and weight of each member."""

    specs: tuple[TensorSpec, ...] = ()
    nbytes: Mapping[str, int] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)


def _read_parts(model: str) -> _Parts:
    """Return the parts of a merged model, told apart by the scopes that merging gave them."""
    paths = [f"{model}/{FLAGS_FILE}", f"{model}/{INFERENCE_MODEL}.index"]
    if not all(map(files.exists, paths)):
        return _Parts()
    flags = parse_flags(files.read_bytes(paths[0]), path=paths[0])
    sizes = dict.fromkeys(map(str, flags.get("members", ())), 0)
    weights = dict.fromkeys(sizes, 1.0)
    with open_checkpoint(f"{model}/{INFERENCE_MODEL}", verify=False) as source:
        specs = tuple(source.specs().values())
        for spec in specs if sizes else ():
            if member := member_of(spec.name, tuple(sizes), naming=flags.get("naming")):
                sizes[member] += spec.nbytes
        if MIXTURE_VARIABLE in source.specs():
            values = source.read(MIXTURE_VARIABLE).reshape(len(sizes), -1).mean(axis=1)
            weights = dict(zip(sizes, values.tolist(), strict=True))
    return _Parts(specs, sizes, weights)
