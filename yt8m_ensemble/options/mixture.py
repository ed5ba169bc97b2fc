"""Options of `tune-weights`, `select`, `compare`, `blend`, `convert scores`: scores come in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from yt8m_ensemble.constants import MAX_BUNDLE_BYTES, TOP_K
from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.options.choices import Method, Space, SpaceOrAuto, Storage
from yt8m_ensemble.options.field import option
from yt8m_ensemble.options.shared import (
    ClassNamesOptions,
    MarginOptions,
    ModelOptions,
    OutputOptions,
    PredictionSetOptions,
    SeedOptions,
    VocabularyOptions,
    WeightsOptions,
)


@dataclass(frozen=True, kw_only=True)
class HoldoutOptions(SeedOptions):
    """Which videos only judge."""

    holdout: Annotated[
        float,
        option("Share of the videos that is not tuned on, but judged on; 0 for none.", ge=0, lt=1),
    ] = 0.5


@dataclass(frozen=True, kw_only=True)
class TuneOptions(HoldoutOptions, PredictionSetOptions, OutputOptions):
    """Options of `tune_weights`."""

    space: Annotated[
        SpaceOrAuto,
        option("Where members are averaged; `auto` takes the best one in sample, which can lose."),
    ] = "logit"
    method: Annotated[Method, option("Search method.")] = "nelder-mead"
    step: Annotated[float, option("Resolution of the weights.", gt=0, le=1)] = 0.05
    folds: Annotated[
        int,
        option(
            "Parts of the videos tuned on, each judged under weights of the others; 0 for none.",
            ge=0,
        ),
    ] = 5
    bootstrap: Annotated[int, option("Resamples behind every interval.", ge=2)] = 1000
    shrink: Annotated[
        float,
        option(
            "Videos at which searched and uniform weights count alike; 0 does not shrink.", ge=0
        ),
    ] = 250.0
    keep_tuned: Annotated[
        bool, option("Write the tuned weights also where the uniform mean is not worse.")
    ] = False
    class_bias: Annotated[
        bool, option("Fit a bias for each class; keep it if GAP out of fold rises for certain.")
    ] = True
    per_class: Annotated[
        bool, option("Fit weights for each class too; keep them if GAP out of fold rises.")
    ] = False
    calibrated: Annotated[
        bool,
        option("Add a temperature that makes scores mean what they say; needs all scores."),
    ] = False
    train_data: Annotated[
        str | None,
        option(
            "Records that members were trained on, to count the videos that are among them.",
            metavar="GLOB",
        ),
    ] = None
    out: Annotated[str | None, option("Mixture-weights file to write.", metavar="W.json")] = None
    plot: Annotated[
        str | None, option("Picture of GAP over the weights, to write.", metavar="OUT.png")
    ] = None
    reliability: Annotated[
        str | None,
        option("Picture of how often scores come true, to write.", metavar="OUT.png"),
    ] = None
    thresholds: Annotated[
        str | None,
        option(
            "Thresholds of the classes, to write: scores from there on are labels.",
            metavar="T.json",
        ),
    ] = None
    objective: Annotated[
        str,
        option(
            "Thresholds of the highest F1, or of the highest recall at a precision.",
            metavar="f1|precision:P",
        ),
    ] = "f1"

    def check(self) -> None:
        """Refuse options that need each other.

        Raises:
            UsageError: If there are any.
        """
        if self.calibrated and self.space != "logit":
            msg = "`--calibrated` divides logits by a temperature. Leave `--space` at logit."
            raise UsageError(msg, option="--space", space=self.space)
        if self.reliability and not self.calibrated:
            msg = "`--reliability` draws what a temperature changes. Set `--calibrated`."
            raise UsageError(msg, option="--calibrated")


@dataclass(frozen=True, kw_only=True)
class SelectOptions(HoldoutOptions, ModelOptions, OutputOptions):
    """Options of `select_ensemble`."""

    predictions: Annotated[
        Sequence[str],
        option(
            "Prediction caches; a member NAME@uint8 holds the scores of NAME in uint8.",
            metavar="H5",
            parse="repeat",
        ),
    ]
    models: Annotated[
        Sequence[str],
        option(
            "A member's model, for its size.", flag="--model", metavar="NAME=PATH", parse="repeat"
        ),
    ] = ()
    sizes: Annotated[
        Mapping[str, int] | None,
        option(
            "Bytes of a member in float32, instead of its model.",
            ge=1,
            flag="--size",
            metavar="NAME=BYTES",
            parse="pairs",
        ),
    ] = None
    precisions: Annotated[
        Sequence[Storage], option("Precisions to consider.", metavar="A,B,…", parse="comma")
    ] = ("float16",)
    max_size: Annotated[
        int, option("Most bytes of weights in all.", ge=1, parse="size", default="1GB")
    ] = MAX_BUNDLE_BYTES
    space: Annotated[
        SpaceOrAuto,
        option("Where members are averaged; `auto` takes the best for all of them together."),
    ] = "logit"
    max_per_family: Annotated[
        int | None,
        option(
            "Most members of one family; `netvlad-1` and `netvlad-2` are of the family `netvlad`.",
            ge=1,
            default="any number",
        ),
    ] = None
    seconds: Annotated[
        float,
        option("Time to search; then the best set so far is taken, without a proof.", gt=0),
    ] = 60.0
    out: Annotated[
        str | None, option("Mixture weights of the choice, to write.", metavar="W.json")
    ] = None
    plot: Annotated[
        str | None, option("Picture of GAP against bytes, to write.", metavar="OUT.png")
    ] = None


@dataclass(frozen=True, kw_only=True)
class CompareOptions(
    ClassNamesOptions,
    WeightsOptions,
    PredictionSetOptions,
    MarginOptions,
    SeedOptions,
    OutputOptions,
):
    """Options of `compare_predictions`."""

    before_and_after: Annotated[
        Sequence[str],
        option(
            "Two prediction caches instead of `--predictions`: members of one name are tested "
            "for equivalence.",
            metavar="[BEFORE.h5 AFTER.h5]",
            parse="rest",
            is_argument=True,
        ),
    ] = ()
    predictions: Annotated[
        Sequence[str],
        option(
            "Prediction caches of the same videos; all their members are compared.",
            metavar="H5",
            parse="repeat",
        ),
    ] = ()
    space: Annotated[
        Space | None,
        option("Where members are averaged.", default="as the weights file, else probability"),
    ] = None
    plot: Annotated[
        str | None,
        option("Picture of disagreements and of frequency bands, to write.", metavar="OUT.png"),
    ] = None

    def check(self) -> None:
        """Refuse any other number of caches to test for equivalence than two.

        Raises:
            UsageError: If there is one, or caches of both kinds, or none.
        """
        if len(self.before_and_after) not in {0, 2} or bool(self.before_and_after) == bool(
            self.predictions
        ):
            msg = (
                f"{len(self.before_and_after)} caches to test for equivalence and "
                f"{len(self.predictions)} of `--predictions` are given. Give two caches, or "
                "`--predictions` alone."
            )
            raise UsageError(msg, before_and_after=self.before_and_after)
        if self.before_and_after and self.plot:
            msg = "`--plot` draws how members differ. Give their caches as `--predictions`."
            raise UsageError(msg, option="--plot")


@dataclass(frozen=True, kw_only=True)
class ScoreFilesOptions(OutputOptions):
    """Whose scores are read, from files of any origin."""

    scores: Annotated[
        Sequence[str],
        option(
            "A member's scores: Kaggle CSV, npz, parquet or prediction cache; repeat for each.",
            metavar="NAME=FILE",
            parse="repeat",
        ),
    ]
    intersect: Annotated[
        bool, option("Keep the videos that all files hold; otherwise they must hold the same.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class ConvertScoresOptions(VocabularyOptions, ScoreFilesOptions):
    """Options of `convert_scores`."""

    scores: Annotated[
        Sequence[str],
        option(
            "A member's scores: Kaggle CSV, npz, parquet or prediction cache.",
            metavar="NAME=FILE...",
            parse="rest",
            is_argument=True,
        ),
    ]
    out: Annotated[str, option("Prediction cache to write.", metavar="OUT.h5", is_argument=True)]
    labels: Annotated[
        str | None,
        option(
            "Labeled records, or lines VIDEO_ID,LABEL1 LABEL2 in a `.csv`; they order the videos.",
            metavar="GLOB|CSV",
            default="none, in the order of the first file",
        ),
    ] = None
    top_k: Annotated[
        int | None,
        option(
            "Scores kept of a video and member.",
            ge=1,
            metavar="K",
            default="as many as the shortest list has; all without lists",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class BlendOptions(WeightsOptions, ScoreFilesOptions):
    """Options of `blend_scores`."""

    csv: Annotated[str, option("Kaggle submission to write.", metavar="OUT")]
    space: Annotated[
        Space | None,
        option("Where members are averaged.", default="as the weights file, else probability"),
    ] = None
    top_k: Annotated[int, option("Pairs a video in the submission.", ge=1)] = TOP_K
