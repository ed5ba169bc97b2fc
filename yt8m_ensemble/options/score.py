"""Options of `eval`, `predict` and `merge-predictions`: scores of records and of caches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from yt8m_ensemble.constants import TOP_K
from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.options.choices import Runner
from yt8m_ensemble.options.field import Options, option
from yt8m_ensemble.options.shared import (
    Mixture,
    ModelOptions,
    OutputOptions,
    PredictionSetOptions,
    ScoringOptions,
    SeedOptions,
    WeightsOptions,
)


@dataclass(frozen=True, kw_only=True)
class TopKOptions(Options):
    """How many scores of a video GAP counts."""

    top_k: Annotated[int, option("Scores of a video that GAP counts.", ge=1)] = TOP_K


@dataclass(frozen=True, kw_only=True)
class EvalModelOptions(TopKOptions, ScoringOptions, ModelOptions):
    """Options of `evaluate_model`."""

    model: Annotated[str, option("Path to a model.", metavar="PATH")]
    data: Annotated[str, option("Labeled records.", metavar="GLOB")]


@dataclass(frozen=True, kw_only=True)
class EvalOptions(TopKOptions, SeedOptions, ScoringOptions, ModelOptions):
    """Options of `evaluate_models`.

    Attributes:
        on_evaluation: Called with each evaluation as soon as it is made.
    """

    models: Annotated[
        Sequence[str],
        option(
            "Path to a model; repeat for several.", flag="--model", metavar="PATH", parse="repeat"
        ),
    ]
    data: Annotated[str, option("Labeled records.", metavar="GLOB")]
    checkpoints: Annotated[
        Sequence[str | int] | None,
        option(
            "Steps of the train directory to evaluate.",
            flag="--checkpoint",
            metavar="a,b,c",
            parse="comma",
        ),
    ] = None
    all_checkpoints: Annotated[
        bool, option("Evaluate all checkpoints of each train directory.")
    ] = False
    watch: Annotated[bool, option("Go on with checkpoints that appear, until Ctrl-C.")] = False
    poll_interval: Annotated[
        float, option("With `--watch`: seconds between two looks.", gt=0, metavar="S")
    ] = 30.0
    stop_after_idle: Annotated[
        float | None,
        option("With `--watch`: stop after S seconds without a new checkpoint.", ge=0, metavar="S"),
    ] = None
    sample: Annotated[
        int | None,
        option(
            "Read only K record files, drawn with `--seed`, the same for every model.",
            ge=1,
            flag="--sample-shards",
            metavar="K",
        ),
    ] = None
    tensorboard: Annotated[
        str | None,
        option("Directory for TensorBoard scalars by global step.", metavar="DIR"),
    ] = None
    on_evaluation: Callable[[Any], object] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class EvalPredictionsOptions(WeightsOptions, TopKOptions, PredictionSetOptions):
    """Options of `evaluate_predictions`; with weights, their mixture is evaluated, too."""

    weights: Annotated[
        str | Sequence[float] | Mixture | None,
        option(
            "Evaluate this mixture too: a mixture-weights file, or a number for each member.",
            metavar="FILE|a,b,…",
            parse="numbers",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class PredictOptions(ScoringOptions, ModelOptions, OutputOptions):
    """Options of `predict_scores`.

    Raises:
        UsageError: If they contradict each other.
    """

    models: Annotated[
        Sequence[str],
        option(
            "Path to a model; repeat for several. A merged model brings all its members.",
            flag="--model",
            metavar="[NAME=]PATH",
            parse="repeat",
        ),
    ]
    data: Annotated[str, option("Records to score.", metavar="GLOB")]
    csv: Annotated[
        str | None, option("Kaggle submission of the one model to write.", metavar="OUT")
    ] = None
    cache: Annotated[
        str | None, option("Prediction cache of every member to write.", metavar="OUT.h5")
    ] = None
    top_k: Annotated[int, option("Pairs a video in the submission.", ge=1)] = TOP_K
    cache_top_k: Annotated[
        int | None,
        option("Scores kept of a video and member in the cache.", ge=1, metavar="K", default="all"),
    ] = None
    shard: Annotated[
        tuple[int, int] | None,
        option(
            "Score share I of N of the record files, I from 0; join with `merge-predictions`.",
            ge=0,
            metavar="I/N",
            parse="share",
        ),
    ] = None
    runner: Annotated[
        Runner, option("Score in this process, or on Apache Beam (an optional package).")
    ] = "local"
    num_workers: Annotated[
        int | None, option("With `--runner beam`: processes of its local runner.", ge=1)
    ] = None
    beam_options: Annotated[
        Sequence[str],
        option(
            "Option passed on to Beam's pipeline, such as `--runner=FlinkRunner`; repeatable.",
            flag="--beam-option",
            metavar="OPTION",
            parse="repeat",
        ),
    ] = ()

    def check(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            UsageError: If they do.
        """
        if self.shard is not None and self.shard[0] >= self.shard[1]:
            msg = f"`--shard {self.shard[0]}/{self.shard[1]}`: I counts from 0 to N - 1."
            raise UsageError(msg, shard=self.shard)
        if self.csv and len(self.models) > 1:
            msg = (
                f"A CSV holds the scores of one model, {len(self.models)} are given. Merge them "
                "first with `yt8m-ens merge`, or write `--cache` only."
            )
            raise UsageError(msg, models=self.models)
        if self.runner == "beam" and (self.shard or not self.cache):
            msg = (
                "`--runner beam` writes one `--cache`, perhaps with `--csv`, and shares the work "
                "itself. Name a cache, and leave `--shard` out."
            )
            raise UsageError(msg, csv=self.csv, shard=self.shard)
        if self.runner != "beam" and (self.num_workers or self.beam_options):
            msg = (
                "`--num-workers` and `--beam-option` need `--runner beam`. One process uses all "
                "cores."
            )
            raise UsageError(msg, num_workers=self.num_workers)


@dataclass(frozen=True, kw_only=True)
class JoinOptions(OutputOptions):
    """Options of `merge_predictions`."""

    parts: Annotated[
        Sequence[str],
        option("Prediction caches of different videos.", metavar="H5...", parse="rest",
               is_argument=True),
    ]  # fmt: skip
    out: Annotated[str, option("Prediction cache to write.", metavar="OUT.h5")]
