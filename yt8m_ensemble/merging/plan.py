"""What a merge will do, known before a weight is read: scopes, target names, dtypes, bytes.

Pure: compares descriptions and refuses members that do not fit together. Builds no graph.
"""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yt8m_ensemble.casting import is_narrowable
from yt8m_ensemble.errors import CheckpointError, ModelError, ShapeError, TensorMismatchError
from yt8m_ensemble.merging.storage import Storage, stored_parts
from yt8m_ensemble.values import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yt8m_ensemble.graphs import ModelGraph
    from yt8m_ensemble.options.choices import Fp16, Naming, Scheme
    from yt8m_ensemble.values import FeatureSpec, MixtureWeights, TensorSource


_ORIGINAL_FP16 = (
    "hidden1_weights/hidden1_weights",
    "gates/weights",
    "experts/weights",
    "gating_prob_weights",
)
_SHOWN = 3


@dataclass(frozen=True)
class Member:
    """One model that goes into a merge.

    Args:
        name: Its name in the ensemble.
        graph: Its inference graph.
        source: Its weights.
        features: What it reads.
        num_classes: Classes that it predicts.
    """

    name: str
    graph: ModelGraph
    source: TensorSource
    features: FeatureSpec
    num_classes: int


@dataclass(frozen=True)
class PlannedTensor:
    """Source of one tensor of the merged model.

    Args:
        target: Its name in the merged graph and checkpoint, its shape and dtype in the member.
        member: The member's name.
        node: The variable's node name in the member's graph.
        source: Its name in the member's checkpoint.
        storage: How the merged model stores it.
    """

    target: TensorSpec
    member: str
    node: str
    source: str
    storage: Storage

    @property
    def parts(self) -> dict[str, TensorSpec]:
        """The tensors that store it, by part; `""` is the one that bears its name."""
        return stored_parts(self.target, self.storage)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in the merged model."""
        return sum(part.nbytes for part in self.parts.values())


@dataclass(frozen=True)
class MergePlan:
    """Contents of a merged model, before it is built.

    Args:
        weights: Mixture weights; their names are the members' names in order.
        naming: How variables of members are named.
        tensors: Every weight of every member.
        global_step: The newest member's; part of the model under `original` naming.
    """

    weights: MixtureWeights
    naming: Naming
    tensors: tuple[PlannedTensor, ...]
    global_step: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the merged weights."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def source_nbytes(self) -> int:
        """Bytes of the same weights in the members."""
        return sum(tensor.target.nbytes for tensor in self.tensors)

    def of_member(self, name: str) -> Iterator[PlannedTensor]:
        """Yield the tensors of one member.

        Yields:
            Its planned tensors in the order of their target names.
        """
        yield from (tensor for tensor in self.tensors if tensor.member == name)


def plan_merge(
    members: Sequence[Member],
    *,
    weights: MixtureWeights,
    fp16: Fp16 = "none",
    quantize: Scheme | None = None,
    keep_float32: Sequence[str] = (),
    naming: Naming = "scoped",
) -> MergePlan:
    """Check that members fit together and lay out the merged model.

    Args:
        members: At least one; names all different and equal to those of `weights`.
        weights: Mixture weights and the space that members are mixed in.
        fp16: `none` keeps dtypes; `auto` stores every float32 tensor of 1,024 values or more as
            float16, batch-norm statistics excepted; `original` exactly the four tensors a member
            that the 10th-place solution stores so.
        quantize: Scheme for weight matrices of 1,024 values or more; `fp16` says what becomes of
            the rest.
        keep_float32: Names of tensors, in the member's or the merged checkpoint, to leave alone.
        naming: `scoped` puts each member below its name; `original` names as the 10th-place
            solution: `tower/…` for the first, `tower/model<i>/…` for the others.

    Returns:
        The plan; no weight has been read.

    Raises:
        ModelError: If members differ in features or classes, or a name in `keep_float32` is
            unknown.
        CheckpointError: If a variable of a graph is not in its checkpoint.
    """
    _check_fit(members)
    tensors = []
    for position, member in enumerate(members):
        stored = _check_variables(member)
        for node, source in stored.items():
            name = rename(node, naming=naming, member=member.name, position=position)
            storage: Storage = "same"
            if not {source.name, node, name}.intersection(keep_float32):
                storage = _choose_storage(source, fp16, quantize)
            target = TensorSpec(name, source.shape, source.dtype)
            tensors.append(PlannedTensor(target, member.name, node, source.name, storage))
    _check_kept(keep_float32, tensors)
    _check_distinct(tensors)
    tensors.sort(key=lambda tensor: tensor.target.name)
    return MergePlan(weights, naming, tuple(tensors), max(map(_global_step, members)))


def rename(node: str, *, naming: Naming, member: str, position: int) -> str:
    """Return the name of a member's node in the merged graph.

    Examples:
        >>> rename("tower/gates/weights", naming="original", member="b", position=1)
        'tower/model1/gates/weights'
        >>> rename("tower/gates/weights", naming="scoped", member="b", position=1)
        'b/tower/gates/weights'
    """
    if naming == "scoped":
        return f"{member}/{node}"
    below = node.removeprefix("tower/")
    if below == node:  # no variable of the original lies here; keep clear of its names
        return f"model{position}/{node}"
    return f"tower/model{position}/{below}" if position else node


def _choose_storage(spec: TensorSpec, fp16: Fp16, quantize: Scheme | None) -> Storage:
    if spec.dtype != "float32":
        return "same"
    is_weight = is_narrowable(spec)
    if quantize and is_weight and len(spec.shape) > 1:
        return quantize
    is_half = (
        spec.name.endswith(_ORIGINAL_FP16) if fp16 == "original" else fp16 == "auto" and is_weight
    )
    return "float16" if is_half and fp16 != "none" else "same"


def _global_step(member: Member) -> int:
    if "global_step" not in member.source.specs():
        return 0
    return int(member.source.read("global_step"))


def _check_fit(members: Sequence[Member]) -> None:
    first = members[0]
    for other in members[1:]:
        if other.features != first.features:
            msg = (
                f"Members read different features: '{first.name}' {_describe(first.features)}, "
                f"'{other.name}' {_describe(other.features)}. One graph has one input; let them "
                "share it with `share_features`, as `yt8m-ens merge` does."
            )
            raise ModelError(msg, members=(first.name, other.name))
        if other.num_classes != first.num_classes:
            msg = (
                f"Members predict different classes: '{first.name}' {first.num_classes}, "
                f"'{other.name}' {other.num_classes}. Merge members of one vocabulary."
            )
            raise ModelError(msg, members=(first.name, other.name))


def _describe(features: FeatureSpec) -> str:
    level = "frame" if features.frame_level else "video"
    pairs = zip(features.names, features.sizes, strict=True)
    limit = f", {features.max_frames} frames" if features.frame_level else ""
    return f"{', '.join(f'{name} {size}' for name, size in pairs)} ({level} level{limit})"


def _check_variables(member: Member) -> dict[str, TensorSpec]:
    """Return what is stored, by variable of the member's graph.

    Raises:
        CheckpointError: If there is none.
        TensorMismatchError: If shape or dtype differ.
    """
    specs = member.source.specs()
    wanted = member.graph.variables
    missing = [spec.name for spec in wanted.values() if spec.name not in specs]
    if missing:
        more = f"; {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        msg = (
            f"{len(missing)} variables of the graph of '{member.name}' are not in its checkpoint: "
            f"{', '.join(missing[:_SHOWN])}{more}. Give the graph and checkpoint of one run."
        )
        raise CheckpointError(msg, member=member.name, missing=missing)
    for node, spec in wanted.items():
        found = specs[spec.name]
        is_part = node in member.graph.slices
        if found.dtype != spec.dtype or (found.shape != spec.shape and not is_part):
            msg = (
                f"'{spec.name}' of '{member.name}' is {found.dtype} {found.shape} in the "
                f"checkpoint but {spec.dtype} {spec.shape} in the graph. Give the graph and "
                "checkpoint of one run."
            )
            raise TensorMismatchError(msg, member=member.name, tensor=spec.name)
    return dict(wanted)


def _check_kept(keep_float32: Sequence[str], tensors: Sequence[PlannedTensor]) -> None:
    known = {name for t in tensors for name in (t.target.name, t.source, t.node)}
    for name in keep_float32:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" The nearest is '{near[0]}'." if near else ""
            msg = f"No tensor is called '{name}', which `--keep-float32` names.{hint}"
            raise ModelError(msg, name=name)


def _check_distinct(tensors: Sequence[PlannedTensor]) -> None:
    counts = Counter(tensor.target.name for tensor in tensors)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        msg = (
            f"Two members would both write '{twice[0]}'. Use `--naming scoped`, or give the "
            "members different names."
        )
        raise ShapeError(msg, tensor=twice[0])
