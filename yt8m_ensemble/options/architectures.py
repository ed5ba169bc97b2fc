"""The options of the architectures: each field once, with type, range, help and default.

A model of `models/` is one of these dataclasses with arithmetic added; the command line, recipes
and `model_flags.json` take names, ranges and order of the options from here. An option that several
architectures have is one base class. Loads no TensorFlow.
"""

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from yt8m_ensemble.errors import ModelError, UsageError
from yt8m_ensemble.options.field import Field, checked, fields_of, option

Option = bool | int | float | str
"""A value that an architecture option may take."""


@dataclass(frozen=True)
class ArchitectureOptions:
    """Options of one architecture; values are checked when an instance is made.

    Raises:
        ModelError: If a value has the wrong type or is out of range.
    """

    def __post_init__(self) -> None:
        for name, described in fields_of(type(self)).items():
            try:
                value = checked(described, getattr(self, name), lax=True)
            except UsageError as error:
                msg = f"Option '{name}' of {type(self).__name__}: {error.reason}"
                msg += "" if msg.endswith("?") else "."
                raise ModelError(msg, **{**error.details, "option": name}) from None
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class MoeOptions(ArchitectureOptions):
    """Options of a mixture of experts, and of the WILLOW gating behind it."""

    moe_num_mixtures: Annotated[int, option("Experts a class, without the dummy.", ge=1)] = 2
    moe_l2: Annotated[float, option("L2 penalty on gates and experts.", ge=0)] = 1e-8
    moe_low_rank_gating: Annotated[int, option("Rank of the gates; -1 is full.", ge=-1)] = -1
    moe_prob_gating: Annotated[
        bool, option("Multiply the probabilities with `sigmoid(batch norm(p W))`.")
    ] = False
    moe_prob_gating_input: Annotated[
        Literal["prob", "input"],
        option("What those gates read: the probabilities, or the classifier's input."),
    ] = "prob"
    gating_remove_diag: Annotated[bool, option("Leave each class's own value out of its gate.")] = (
        False
    )


@dataclass(frozen=True)
class ClassifierOptions(ArchitectureOptions):
    """Which classifier follows pooled frames."""

    video_level_classifier_model: Annotated[
        Literal["MoeModel", "LogisticModel", "MlpModel"],
        option("Classifier of the pooled frames."),
    ] = "MoeModel"


@dataclass(frozen=True)
class MlpLayerOptions(ArchitectureOptions):
    """Options of the dense layers of `MlpModel`."""

    mlp_hidden_size: Annotated[int, option("MlpModel: width of a hidden layer.", ge=1)] = 1024
    mlp_layers: Annotated[int, option("MlpModel: hidden layers.", ge=1)] = 2
    mlp_batch_norm: Annotated[bool, option("MlpModel: batch norm after each layer.")] = True
    mlp_residual: Annotated[
        bool, option("MlpModel: add the input of a layer to its output, from the second on.")
    ] = True
    mlp_gating: Annotated[bool, option("MlpModel: context gating of each layer.")] = True
    mlp_dropout: Annotated[
        float, option("MlpModel: share of hidden values dropped while training.", ge=0, lt=1)
    ] = 0.4


@dataclass(frozen=True)
class MlpCenteringOption(ArchitectureOptions):
    """Centering of video-level features."""

    mlp_centering: Annotated[
        bool,
        option(
            "MlpModel of video-level features: subtract the mean of the training features, kept "
            "with the model."
        ),
    ] = True


@dataclass(frozen=True)
class IterationsOption(ArchitectureOptions):
    """How many frames are drawn while training."""

    iterations: Annotated[int, option("Frames drawn of a video while training.", ge=1)] = 30


@dataclass(frozen=True)
class SamplingOptions(IterationsOption):
    """Which frames are drawn while training."""

    sample_random_frames: Annotated[
        bool, option("Draw those frames one by one; otherwise a consecutive run.")
    ] = True


@dataclass(frozen=True)
class NetVladSizeOptions(ArchitectureOptions):
    """Sizes of NetVLAD and of the layer behind it."""

    netvlad_cluster_size: Annotated[int, option("NetVLAD: clusters.", ge=1)] = 64
    netvlad_hidden_size: Annotated[
        int, option("NetVLAD: width of the first hidden layer.", ge=1)
    ] = 1024


@dataclass(frozen=True)
class NetVladBatchNormOption(ArchitectureOptions):
    """Batch norm of NetVLAD and NetFV."""

    netvlad_add_batch_norm: Annotated[
        bool, option("NetVLAD, NetFV: batch norm after the assignment and the hidden layer.")
    ] = True


@dataclass(frozen=True)
class NetVladReluOption(ArchitectureOptions):
    """Activation behind NetVLAD's hidden layer."""

    netvlad_relu: Annotated[bool, option("NetVLAD: relu6 after the hidden layer.")] = True


@dataclass(frozen=True)
class NetVladDimredOption(ArchitectureOptions):
    """Reduction of each WILLOW pool."""

    netvlad_dimred: Annotated[
        int, option("WillowNetVLADModelLF: size to reduce each pool to; -1 is none.", ge=-1)
    ] = -1


@dataclass(frozen=True)
class GatingOption(ArchitectureOptions):
    """Context gating."""

    gating: Annotated[bool, option("NetVLAD, NetFV: context gating of the hidden layer.")] = False


@dataclass(frozen=True)
class VladVariantOptions(ArchitectureOptions):
    """Variants of NetVLAD pooling."""

    lightvlad: Annotated[bool, option("NetVLAD: pool without cluster centers.")] = False
    vlagd: Annotated[bool, option("NetVLAD: pool with gated sums.")] = False


@dataclass(frozen=True)
class FisherVectorOptions(ArchitectureOptions):
    """Options of NetFV."""

    fv_cluster_size: Annotated[int, option("NetFV: clusters.", ge=1)] = 64
    fv_hidden_size: Annotated[int, option("NetFV: width of the hidden layer.", ge=1)] = 2048
    fv_relu: Annotated[bool, option("NetFV: relu6 after the hidden layer.")] = True
    fv_couple_weights: Annotated[
        bool, option("NetFV: cluster centers are scaled assignment weights.")
    ] = True
    fv_coupling_factor: Annotated[float, option("NetFV: the scale of that coupling.")] = 0.01


_DbofClusters = Annotated[int, option("DBoF: clusters.", ge=1, default="8192; LF models 16384")]
_DbofHidden = Annotated[
    int, option("DBoF: width of the hidden layer.", ge=1, default="1024; LF models 2048")
]


@dataclass(frozen=True)
class DbofSizeOptions(ArchitectureOptions):
    """Sizes of the starter code's deep bag of frames."""

    dbof_cluster_size: _DbofClusters = 8192
    dbof_hidden_size: _DbofHidden = 1024


@dataclass(frozen=True)
class DbofLfSizeOptions(ArchitectureOptions):
    """Sizes of the WILLOW deep bags of frames."""

    dbof_cluster_size: _DbofClusters = 16_384
    dbof_hidden_size: _DbofHidden = 2048


@dataclass(frozen=True)
class DbofBatchNormOption(ArchitectureOptions):
    """Batch norm of all deep bags of frames."""

    dbof_add_batch_norm: Annotated[bool, option("DBoF: batch norm.")] = True


@dataclass(frozen=True)
class DbofPoolingOption(ArchitectureOptions):
    """Pooling of the starter code's deep bag of frames."""

    dbof_pooling_method: Annotated[
        Literal["max", "average"], option("DbofModel: how frames are pooled.")
    ] = "max"


@dataclass(frozen=True)
class DbofReluOption(ArchitectureOptions):
    """Activation behind the hidden layer of the WILLOW deep bags of frames."""

    dbof_relu: Annotated[bool, option("DBoF of the LF models: relu6 after the hidden layer.")] = (
        True
    )


@dataclass(frozen=True)
class DbofActivationOption(ArchitectureOptions):
    """Activation of the WILLOW deep bag of frames."""

    dbof_activation: Annotated[
        Literal["relu", "glu"], option("DbofModelLF: activation of the clusters.")
    ] = "relu"


@dataclass(frozen=True)
class SoftDbofOptions(ArchitectureOptions):
    """Options of the soft deep bags of frames."""

    softdbof_maxpool: Annotated[
        bool, option("SoftDbofModelLF: append the maxima over the frames.")
    ] = False
    fc_dimred: Annotated[bool, option("SoftDbofModelLF: compress by the hidden layer.")] = True


@dataclass(frozen=True)
class LstmOptions(ArchitectureOptions):
    """Options of the LSTM."""

    lstm_cells: Annotated[int, option("LSTM: cells a layer.", ge=1)] = 1024
    lstm_layers: Annotated[int, option("LSTM: layers.", ge=1)] = 2
    lstm_random_sequence: Annotated[bool, option("LSTM: draw frames while training.")] = False
    lstm_backward: Annotated[bool, option("LSTM: read the last frame first.")] = False


@dataclass(frozen=True)
class GruOptions(ArchitectureOptions):
    """Options of the GRU."""

    gru_cells: Annotated[int, option("GRU: cells a layer.", ge=1)] = 1024
    gru_layers: Annotated[int, option("GRU: layers.", ge=1)] = 2
    gru_random_sequence: Annotated[bool, option("GRU: draw frames while training.")] = False
    gru_backward: Annotated[bool, option("GRU: read the last frame first.")] = False


@dataclass(frozen=True)
class NextVladOptions(ArchitectureOptions):
    """Options of NeXtVLAD."""

    nextvlad_cluster_size: Annotated[int, option("NeXtVLAD: clusters.", ge=1)] = 64
    nextvlad_hidden_size: Annotated[int, option("NeXtVLAD: width of the hidden layer.", ge=1)] = (
        1024
    )
    groups: Annotated[int, option("NeXtVLAD: groups.", ge=1)] = 8
    expansion: Annotated[int, option("NeXtVLAD: factor of the expansion.", ge=1)] = 2
    drop_rate: Annotated[
        float, option("NeXtVLAD: share of values dropped while training.", ge=0, lt=1)
    ] = 0.5
    gating_reduction: Annotated[int, option("NeXtVLAD: factor by which gating squeezes.", ge=1)] = 8


FAMILIES: tuple[type[ArchitectureOptions], ...] = (
    MoeOptions, MlpLayerOptions, MlpCenteringOption, ClassifierOptions, SamplingOptions,
    NetVladSizeOptions, NetVladBatchNormOption, NetVladReluOption, NetVladDimredOption,
    GatingOption, VladVariantOptions, FisherVectorOptions, DbofSizeOptions, DbofBatchNormOption,
    DbofPoolingOption, DbofReluOption, DbofActivationOption, SoftDbofOptions, LstmOptions,
    GruOptions, NextVladOptions,
)  # fmt: skip
"""Every group of options, in the order of `--help`."""


def architecture_fields() -> dict[str, Field]:
    """Return the options of all architectures by name."""
    return {name: item for family in FAMILIES for name, item in fields_of(family).items()}


def model_options(options: ArchitectureOptions) -> dict[str, Any]:
    """Return the values of an architecture's options, in the order of its fields."""
    return {item.name: getattr(options, item.name) for item in fields(options)}
