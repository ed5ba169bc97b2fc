"""Options of `edit` and `extract`: files taken apart by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from yt8m_ensemble.options.field import option
from yt8m_ensemble.options.shared import ModelOptions, OutputOptions


@dataclass(frozen=True, kw_only=True)
class EditOptions(OutputOptions):
    """Options of `edit_weights`."""

    source: Annotated[
        str, option("A checkpoint, or any file of weights.", metavar="SOURCE", is_argument=True)
    ] = field(kw_only=False)
    rename: Annotated[
        Sequence[str],
        option(
            "Rename tensors whose whole name matches; NEW may refer to groups, as `\\1`.",
            metavar="REGEX=>NEW",
            parse="repeat",
        ),
    ] = ()
    drop: Annotated[
        Sequence[str],
        option("Leave out tensors of these new names; repeatable.", metavar="GLOB", parse="repeat"),
    ] = ()
    keep: Annotated[
        Sequence[str],
        option("Keep only tensors of these new names; repeatable.", metavar="GLOB", parse="repeat"),
    ] = ()
    cast: Annotated[
        Mapping[str, Literal["float16", "bfloat16", "float32", "float64"]] | None,
        option(
            "Cast the floats among tensors of these new names; repeatable.",
            metavar="GLOB=DTYPE",
            parse="pairs",
        ),
    ] = None
    out: Annotated[
        str, option("Checkpoint prefix, `.safetensors` or `.h5` file to write.", metavar="OUT")
    ]


@dataclass(frozen=True, kw_only=True)
class ExtractOptions(ModelOptions, OutputOptions):
    """Options of `extract_members`."""

    ensemble: Annotated[
        str, option("A merged model, of ours or of others.", metavar="ENSEMBLE", is_argument=True)
    ] = field(kw_only=False)
    members: Annotated[
        Sequence[str],
        option(
            "A member to take out; repeat for several.",
            flag="--member",
            metavar="NAME",
            parse="repeat",
            default="all",
        ),
    ] = ()
    decode: Annotated[
        bool, option("Store weights of 16 or fewer bits as the float32 that they stand for.")
    ] = False
    with_fixed_frames: Annotated[
        bool,
        option("Replace random draws of frames by evenly spaced true frames.", flag="--fix-frames"),
    ] = False
    out: Annotated[str, option("Directory to write, with a folder a member.", metavar="DIR")]
