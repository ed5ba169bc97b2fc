"""Groups of options that several commands share; a command's options class inherits them.

A step may hand its whole options object to whoever wants one of these groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol, runtime_checkable

from yt8m_ensemble.constants import (
    EQUIVALENCE_MARGIN,
    MAX_FRAME_LIMIT,
    MAX_FRAMES,
    NUM_CLASSES_2018,
)
from yt8m_ensemble.options.choices import Level
from yt8m_ensemble.options.field import Options, option


@runtime_checkable
class Mixture(Protocol):
    """A mixture of members in memory: `yt8m_ensemble.MixtureWeights`."""

    @property
    def names(self) -> tuple[str, ...]:
        """Member names."""
        ...

    @property
    def values(self) -> tuple[float, ...]:
        """Weights in the same order."""
        ...


@dataclass(frozen=True, kw_only=True)
class OutputOptions(Options):
    """What happens to an output that is there already."""

    force: Annotated[bool, option("Replace an output that exists.")] = False


@dataclass(frozen=True, kw_only=True)
class SeedOptions(Options):
    """Where random draws start."""

    seed: Annotated[int, option("Seed of every random draw.", ge=0)] = 0


@dataclass(frozen=True, kw_only=True)
class PolicyOptions(Options):
    """What a stranger's graph may do."""

    allow_operations: Annotated[
        Sequence[str],
        option(
            "An operation that the graph may run though it is not on the list of allowed ones.",
            flag="--allow-operation",
            metavar="NAME",
            parse="repeat",
        ),
    ] = ()


@dataclass(frozen=True, kw_only=True)
class ImportOptions(Options):
    """Which code of the user's own is run first."""

    imports: Annotated[
        Sequence[str],
        option(
            "Python file that registers architectures of your own; repeat for more.",
            flag="--import",
            metavar="FILE.py",
            parse="repeat",
        ),
    ] = ()


@dataclass(frozen=True, kw_only=True)
class ModelOptions(PolicyOptions, ImportOptions):
    """How a model is opened whose files do not tell everything."""

    architecture: Annotated[
        str | None, option("Architecture, where the models' files say another.", metavar="NAME")
    ] = None
    num_classes: Annotated[
        int | None, option("Classes, where the models' files do not tell.", ge=1)
    ] = None
    input_tensor: Annotated[
        str | None,
        option("Input of a graph without the collection `input_batch_raw`.", metavar="TENSOR"),
    ] = None
    num_frames_tensor: Annotated[
        str | None,
        option("Frame counts of a graph without the collection `num_frames`.", metavar="TENSOR"),
    ] = None
    predictions_tensor: Annotated[
        str | None,
        option("Output of a graph without the collection `predictions`.", metavar="TENSOR"),
    ] = None
    signature: Annotated[
        str | None,
        option("Signature of a SavedModel, if it has several.", metavar="NAME"),
    ] = None
    logits: Annotated[
        bool,
        option("The scores of exported models are logits: they end before the sigmoid."),
    ] = False
    feature_names: Annotated[
        str | None,
        option(
            "What a model without `model_flags.json` reads, in this order.",
            metavar="A,B,…",
            default="those of YouTube-8M, where its size is theirs",
        ),
    ] = None
    feature_sizes: Annotated[
        str | None,
        option("Values of each of these features.", metavar="A,B,…", default="as above"),
    ] = None
    bindings: Annotated[
        Mapping[str, str] | None,
        option(
            "Value of a placeholder that nobody feeds, such as `is_training=false`.",
            flag="--set",
            metavar="NAME=VALUE",
            parse="pairs",
        ),
    ] = None

    @property
    def tensors(self) -> dict[str, str]:
        """The tensors named, by the collection that a graph lacks."""
        named = {
            "input_batch_raw": self.input_tensor,
            "num_frames": self.num_frames_tensor,
            "predictions": self.predictions_tensor,
        }
        return {collection: tensor for collection, tensor in named.items() if tensor}


@dataclass(frozen=True, kw_only=True)
class ScoringOptions(Options):
    """How records are fed to a graph."""

    batch_size: Annotated[
        int | None,
        option("Videos a batch.", ge=1, default="as many as take 32 MiB, at most 256"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class PredictionSetOptions(Options):
    """Which cached predictions are read."""

    predictions: Annotated[
        Sequence[str],
        option(
            "Prediction caches of the same videos; all their members are used.",
            metavar="H5",
            parse="repeat",
        ),
    ]
    intersect: Annotated[
        bool, option("Keep the videos that all files hold; otherwise they must hold the same.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class MarginOptions(Options):
    """Which difference of GAP counts as none."""

    margin: Annotated[
        float,
        option(
            "Difference of GAP that counts as none: two models are equivalent if the paired 90 % "
            "interval of theirs lies inside plus and minus this.",
            gt=0,
        ),
    ] = EQUIVALENCE_MARGIN


@dataclass(frozen=True, kw_only=True)
class WeightsOptions(Options):
    """How much each member counts."""

    weights: Annotated[
        str | Sequence[float] | Mixture | None,
        option(
            "A mixture-weights file, or a number for each member in order.",
            metavar="FILE|a,b,…",
            parse="numbers",
            default="all members count alike",
        ),
    ] = None
    normalize: Annotated[bool, option("Rescale numbers that do not sum to one.")] = False


@dataclass(frozen=True, kw_only=True)
class ClassNamesOptions(Options):
    """What classes are called."""

    vocabulary: Annotated[
        str | None,
        option(
            "Names of classes: a CSV file with columns `Index` and `Name`, as YouTube-8M's.",
            metavar="CSV",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class VocabularyOptions(Options):
    """How many classes there are."""

    num_classes: Annotated[int, option("Size of the vocabulary.", ge=1)] = NUM_CLASSES_2018


@dataclass(frozen=True, kw_only=True)
class FeatureOptions(Options):
    """What a model reads from records."""

    features: Annotated[Level, option("Level of the records.")] = "video"
    feature_names: Annotated[
        str | None,
        option("Features to read, in this order.", metavar="A,B,…", default="both of YouTube-8M"),
    ] = None
    feature_sizes: Annotated[
        str | None,
        option("Values of each feature.", metavar="A,B,…", default="those of YouTube-8M"),
    ] = None
    max_frames: Annotated[
        int,
        option(
            "Frames kept of a video, at frame level; stored with the model.",
            ge=1,
            le=MAX_FRAME_LIMIT,
        ),
    ] = MAX_FRAMES
