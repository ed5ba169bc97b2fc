"""Options of `synth`, `convert` and `inspect`: files of records and of weights."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from yt8m_ensemble.constants import MAX_FRAMES, NUM_CLASSES_2018, TOP_K
from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.options.choices import Level
from yt8m_ensemble.options.field import Options, option
from yt8m_ensemble.options.shared import ModelOptions, OutputOptions, SeedOptions, VocabularyOptions


@dataclass(frozen=True, kw_only=True)
class SynthOptions(SeedOptions, OutputOptions):
    """Options of `synthesize`.

    Raises:
        UsageError: If they contradict each other.
    """

    level: Annotated[Level, option("One mean vector a video, or one vector a second.")] = "video"
    videos: Annotated[
        int | None, option("Videos to invent; of an expansion, the most to write.", ge=1)
    ] = None
    classes: Annotated[int, option("Size of the vocabulary.", ge=1)] = NUM_CLASSES_2018
    shards: Annotated[
        int | None,
        option(
            "Files to write, or source files to expand.", ge=1, default="one per 500 videos; all"
        ),
    ] = None
    from_video_level: Annotated[
        str | None, option("Expand these video-level records into frames.", metavar="GLOB")
    ] = None
    feature_names: Annotated[
        Sequence[str],
        option("Names at frame level; means get the prefix `mean_`.", parse="comma"),
    ] = ("rgb", "audio")
    feature_sizes: Annotated[
        Sequence[int],
        option(
            "Values of each feature.",
            ge=1,
            metavar="A,B,…",
            parse="comma",
            default="1024,128, or the source's",
        ),
    ] = ()
    frames: Annotated[
        tuple[int, int],
        option("Least and greatest number of frames of a video.", ge=1, metavar="MIN MAX"),
    ] = (60, MAX_FRAMES)
    prefix: Annotated[
        str | None,
        option("Start of the file names.", default="train, or the names of the source's files"),
    ] = None
    world_seed: Annotated[
        int, option("Seed of what classes look like; the same for all splits.", ge=0)
    ] = 0
    out: Annotated[str, option("Directory to write.", metavar="DIR")]

    def check(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            UsageError: If they do.
        """
        if self.frames[0] > self.frames[1]:
            msg = f"`--frames` must rise, got {self.frames[0]} to {self.frames[1]}."
            raise UsageError(msg, frames=self.frames)
        if self.from_video_level is None and self.videos is None:
            msg = (
                "Nothing to write: pass `--videos`, or records to expand with `--from-video-level`."
            )
            raise UsageError(msg, option="--videos")
        if self.from_video_level is not None and self.level != "frame":
            msg = "`--from-video-level` makes frame-level records. Pass `--level frame` with it."
            raise UsageError(msg, level=self.level)


@dataclass(frozen=True, kw_only=True)
class ConvertOptions(OutputOptions):
    """Options of `convert_checkpoint`."""

    source: Annotated[str, option("What to read.", metavar="SOURCE", is_argument=True)] = field(
        kw_only=False
    )
    out: Annotated[str, option("What to write.", metavar="OUT", is_argument=True)] = field(
        kw_only=False
    )


@dataclass(frozen=True, kw_only=True)
class ConvertPredictionsOptions(OutputOptions):
    """Options of `convert_predictions`."""

    predictions: Annotated[
        str, option("Result files of the batch prediction.", metavar="SOURCE", is_argument=True)
    ]
    out: Annotated[str, option("Submission to write.", metavar="OUT", is_argument=True)]
    top_k: Annotated[int, option("Pairs a row, at most.", ge=1)] = TOP_K


@dataclass(frozen=True, kw_only=True)
class ConvertFeaturesOptions(VocabularyOptions, OutputOptions):
    """Options of `convert_features`."""

    features: Annotated[
        str, option("Files of features of your own.", metavar="SOURCE", is_argument=True)
    ]
    out: Annotated[
        str, option("Directory of record files to write.", metavar="OUT", is_argument=True)
    ]
    labels: Annotated[
        str | None,
        option("Lines VIDEO_ID,LABEL1 LABEL2 that replace the files' own labels.", metavar="CSV"),
    ] = None
    prefix: Annotated[str, option("Start of the file names.")] = "own"
    scale: Annotated[
        float,
        option(
            "Multiply all values by this, so that frames fit what bytes stand for: -1.99 to 2.01.",
            gt=0,
        ),
    ] = 1.0


@dataclass(frozen=True, kw_only=True)
class ConvertRecordsOptions(VocabularyOptions, OutputOptions):
    """Options of `convert_records`."""

    records: Annotated[str, option("Record files.", metavar="SOURCE", is_argument=True)]
    out: Annotated[str, option("The npz file to write.", metavar="OUT", is_argument=True)]
    feature_names: Annotated[
        Sequence[str],
        option("Features to keep.", metavar="A,B,…", parse="comma", default="all"),
    ] = ()


@dataclass(frozen=True, kw_only=True)
class InspectOptions(Options):
    """Options of `inspect_checkpoint`."""

    path: Annotated[
        str,
        option("A model, a checkpoint, or a file of weights.", metavar="PATH", is_argument=True),
    ] = field(kw_only=False)
    verify: Annotated[bool, option("Compare what is read with its checksums.")] = True
    stats: Annotated[bool, option("Read the values, not only the index.")] = True


@dataclass(frozen=True, kw_only=True)
class DiffOptions(Options):
    """Options of `compare_checkpoints`."""

    first: Annotated[
        str,
        option("A model, a checkpoint, or a file of weights.", metavar="PATH", is_argument=True),
    ] = field(kw_only=False)
    second: Annotated[str, option("The one to compare with.", flag="--diff", metavar="PATH")] = (
        field(kw_only=False)
    )
    verify: Annotated[bool, option("Compare what is read with its checksums.")] = True


@dataclass(frozen=True, kw_only=True)
class GraphDiffOptions(ModelOptions):
    """Options of `compare_graphs`."""

    first: Annotated[str, option("Path to a model.", metavar="PATH", is_argument=True)] = field(
        kw_only=False
    )
    second: Annotated[str, option("The model to compare with.", flag="--diff", metavar="PATH")] = (
        field(kw_only=False)
    )


@dataclass(frozen=True, kw_only=True)
class InspectGraphOptions(ModelOptions, OutputOptions):
    """Options of `inspect_graph`."""

    path: Annotated[str, option("Path to a model.", metavar="PATH", is_argument=True)] = field(
        kw_only=False
    )
    svg: Annotated[
        str | None, option("Picture of the graph's parts to write.", metavar="OUT.svg")
    ] = None
    num_frames: Annotated[
        int, option("Frames of the video whose operations are counted.", ge=1)
    ] = MAX_FRAMES
