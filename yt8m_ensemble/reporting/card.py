"""The model card of an archive or SavedModel: what someone must know who gets nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.constants import FLAGS_FILE, INFERENCE_MODEL
from yt8m_ensemble.packaging import member_of
from yt8m_ensemble.provenance import read_provenance
from yt8m_ensemble.reporting.pages import render_markdown
from yt8m_ensemble.values import parse_feature_spec, parse_flags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yt8m_ensemble.options.choices import PackageFormat
    from yt8m_ensemble.values import MixtureWeights

_SHARED = "shared"


@dataclass(frozen=True)
class CardMember:
    """One member.

    Args:
        name: Its name.
        weight: In the mixture; `None` if it is not known.
        size_bytes: Bytes of its weights.
    """

    name: str
    weight: float | None
    size_bytes: int


@dataclass(frozen=True)
class ModelCard:
    """Facts of a model card.

    Args:
        name: The archive or SavedModel.
        kind: Which of them it is.
        num_classes: Classes.
        is_frame_level: Whether it reads frames.
        features: What it reads, in words.
        input_shape: Dimensions of its input, `videos` first.
        members: Its members, and what they share.
        space: Where members are averaged; `None` of a single model.
        has_class_bias: Whether a bias is added to each class.
        nbytes: Bytes of weights by dtype.
        judgements: What tuning measured, as the weights file holds it.
        data: Digest by file: scores tuned on, and checkpoints merged.
    """

    name: str
    kind: PackageFormat
    num_classes: int
    is_frame_level: bool
    features: str
    input_shape: tuple[str | int, ...]
    members: tuple[CardMember, ...]
    space: str | None
    has_class_bias: bool
    nbytes: Mapping[str, int]
    judgements: tuple[Mapping[str, Any], ...]
    data: Mapping[str, str]

    def to_markdown(self) -> str:
        """Return the card as Markdown."""
        return render_markdown("card.md.j2", card=self)


def make_card(
    model: str, out: str, mixture: MixtureWeights | None, *, kind: PackageFormat
) -> ModelCard:
    """Collect the facts of an inference model.

    Args:
        model: Its directory.
        out: The archive or SavedModel that it is packed into.
        mixture: The mixture that was put in; `None` if the model's own was kept.
        kind: What it is packed as.

    Returns:
        The card.
    """
    path = f"{model}/{FLAGS_FILE}"
    flags = parse_flags(files.read_bytes(path), path=path)
    features = parse_feature_spec(flags)
    names, naming = tuple(map(str, flags.get("members", ()))), flags.get("naming")
    provenance = read_provenance(model)
    details = dict(mixture.details) if mixture else dict(provenance.mixture or {})
    weights = {}
    if mixture is not None:
        weights = dict(zip(mixture.names, mixture.values, strict=True))
    elif details:
        weights = dict(zip(details.get("members", ()), details.get("weights", ()), strict=False))
    sizes: Counter[str] = Counter()
    nbytes: Counter[str] = Counter()
    with open_checkpoint(f"{model}/{INFERENCE_MODEL}") as opened:
        for name, spec in opened.specs().items():
            sizes[member_of(name, names, naming=naming) or _SHARED if names else "model"] += (
                spec.nbytes
            )
            nbytes[spec.dtype] += spec.nbytes
    frames = (features.max_frames,) if features.frame_level else ()
    return ModelCard(
        name=Path(out).name,
        kind=kind,
        num_classes=int(flags["num_classes"]),
        is_frame_level=features.frame_level,
        features=", ".join(
            f"{name} ({size})" for name, size in zip(features.names, features.sizes, strict=True)
        ),
        input_shape=("videos", *frames, sum(features.sizes)),
        members=tuple(CardMember(name, weights.get(name), size) for name, size in sizes.items()),
        space=flags.get("mix"),
        has_class_bias=bool(mixture.class_bias if mixture else details.get("class_bias")),
        nbytes=dict(nbytes),
        judgements=tuple(details.get("judgements", ())),
        data={**provenance.inputs, **details.get("predictions", {})},
    )
