"""Options of `merge`, `package` and `verify`: from members to a proven archive."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from yt8m_ensemble.constants import MAX_BUNDLE_BYTES, TIMEOUT_S
from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.options.choices import (
    Fp16,
    Naming,
    PackageFormat,
    Reader,
    Scheme,
    Space,
    Target,
)
from yt8m_ensemble.options.field import Options, option
from yt8m_ensemble.options.shared import (
    ClassNamesOptions,
    MarginOptions,
    Mixture,
    ModelOptions,
    OutputOptions,
    PolicyOptions,
    WeightsOptions,
)


@dataclass(frozen=True, kw_only=True)
class SizeOptions(Options):
    """How large an archive may be."""

    max_size: Annotated[
        int,
        option(
            "Most uncompressed bytes that the archive may hold.",
            ge=1,
            parse="size",
            default="1GB",
        ),
    ] = MAX_BUNDLE_BYTES


@dataclass(frozen=True, kw_only=True)
class MergeOptions(WeightsOptions, ModelOptions, OutputOptions):
    """Options of `merge_models`.

    Raises:
        UsageError: If no member is given.
    """

    members: Annotated[
        Sequence[str],
        option(
            "Path to a model; repeat for each.",
            flag="--member",
            metavar="[NAME=]PATH",
            parse="repeat",
        ),
    ]
    mix: Annotated[
        Space | None,
        option("Where members are averaged.", default="as the weights file, else probability"),
    ] = None
    fp16: Annotated[
        Fp16,
        option(
            "Weights to store as float16: `auto` all of 1,024 values or more except batch-norm "
            "statistics, `original` the four matrices of the 10th-place solution.",
            aliases={"seed": "original"},
        ),
    ] = "none"
    quantize: Annotated[
        Scheme | None,
        option(
            "Store weight matrices in 8 or 4 bits; `--fp16` holds for the rest. `uint4-groups` "
            "takes 4.25 bits and loses half of what `uint4` does, `uint5` 8 bits that an archive "
            "packs to 4, and less than half."
        ),
    ] = None
    keep_float32: Annotated[
        Sequence[str],
        option("A tensor to store in float32 all the same.", metavar="NAME", parse="repeat"),
    ] = ()
    naming: Annotated[
        Naming,
        option(
            "Variable names: below each member's name, or as in the 10th-place solution.",
            aliases={"seed": "original"},
        ),
    ] = "scoped"
    with_fixed_frames: Annotated[
        bool,
        option("Replace random draws of frames by evenly spaced true frames.", flag="--fix-frames"),
    ] = False
    target: Annotated[
        Target, option("What must load the result: the official readers, or any TensorFlow.")
    ] = "tf1.14"
    out: Annotated[str, option("Directory of the inference model to write.", metavar="DIR")]

    def check(self) -> None:
        """Refuse a merge of nothing.

        Raises:
            UsageError: If no member is given.
        """
        if not self.members:
            msg = "No member is given. Pass `--member PATH` for each model."
            raise UsageError(msg, option="--member")


@dataclass(frozen=True, kw_only=True)
class PackageOptions(SizeOptions, PolicyOptions, OutputOptions):
    """Options of `package_model`."""

    model: Annotated[str, option("Directory of an inference model.", metavar="DIR")]
    weights: Annotated[
        str | Mixture | None,
        option("Mixture weights to store in place of the model's own.", metavar="FILE"),
    ] = None
    format: Annotated[
        PackageFormat,
        option(
            "The archive of the challenge, or a directory for TensorFlow Serving, which no size "
            "limit holds for."
        ),
    ] = "tgz"
    card: Annotated[
        bool, option("Write a model card beside it too, X.tgz.card.md, and into its provenance.")
    ] = False
    out: Annotated[str, option("Archive or directory to write.", metavar="X.tgz")]


@dataclass(frozen=True, kw_only=True)
class VerifyOptions(ClassNamesOptions, MarginOptions, SizeOptions, PolicyOptions):
    """Options of `verify_bundle`.

    Raises:
        UsageError: If there are predictions to compare with but no records.
    """

    path: Annotated[str, option("An archive or SavedModel.", metavar="X.tgz", is_argument=True)]
    data: Annotated[str | None, option("Records to score.", metavar="GLOB")] = None
    against: Annotated[
        str | None,
        option(
            "Stored scores of these records: a prediction cache of the members, or a Kaggle CSV.",
            metavar="FILE",
        ),
    ] = None
    tf1: Annotated[
        str | None,
        option("An interpreter with TensorFlow 1.x to run the archive in too.", metavar="PYTHON"),
    ] = None
    tolerance: Annotated[
        float | None,
        option(
            "Largest difference of a score.",
            ge=0,
            default="1e-5; 0.005 with float16, 0.1 with codes",
        ),
    ] = None
    batch_size: Annotated[int, option("Videos a batch.", ge=1)] = 128
    reader: Annotated[
        Reader,
        option(
            "Whom to judge for: an official reader, or `ours`, which also wants a tidy graph.",
        ),
    ] = "ours"
    timeout: Annotated[
        float, option("Seconds that loading, and each batch, may take.", gt=0, metavar="SECONDS")
    ] = TIMEOUT_S

    def check(self) -> None:
        """Refuse stored scores of nothing.

        Raises:
            UsageError: If `against` is given without `data`.
        """
        if self.against and not self.data:
            msg = "Nothing to score. Give the records behind `--against` with `--data`."
            raise UsageError(msg, option="--data")
