"""Options of `train`."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.options.architectures import Option
from yt8m_ensemble.options.choices import Loss, MatmulPrecision, OptimizerName, Schedule
from yt8m_ensemble.options.field import option
from yt8m_ensemble.options.shared import (
    FeatureOptions,
    ImportOptions,
    SeedOptions,
    VocabularyOptions,
)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(SeedOptions):
    """How a model is trained, whatever its architecture and records.

    Raises:
        UsageError: If training would never end, or an option lacks another that it needs.
    """

    batch_size: Annotated[int, option("Videos a step, over all workers together.", ge=1)] = 1024
    learning_rate: Annotated[float, option("First learning rate.", ge=0)] = 0.01
    learning_rate_decay: Annotated[
        float, option("Factor of the learning rate at every decay.", ge=0)
    ] = 0.95
    learning_rate_decay_examples: Annotated[int, option("Examples between two decays.", ge=1)] = (
        4_000_000
    )
    schedule: Annotated[
        Schedule,
        option("How the learning rate falls: in stairs, or along a cosine to 0 at the last step."),
    ] = "staircase"
    warmup_steps: Annotated[
        int, option("Steps over which the learning rate rises linearly from 0.", ge=0)
    ] = 0
    adam_epsilon: Annotated[
        float, option("With Adam and AdamW: number added to the denominator.", gt=0)
    ] = 1e-8
    mixup: Annotated[
        float,
        option("Mix each video with another by a share of Beta(A, A); 0 mixes none.", ge=0),
    ] = 0.0
    input_dropout: Annotated[
        float, option("Share of input values dropped while training.", ge=0, lt=1)
    ] = 0.0
    prior_bias: Annotated[
        bool, option("Start output biases at the logits of the class frequencies.")
    ] = False
    own_options: Annotated[
        Mapping[str, Option] | None,
        option(
            "Option of an architecture of your own, such as `hidden_size=32`; repeat for more.",
            flag="--option",
            metavar="NAME=VALUE",
            parse="pairs",
        ),
    ] = None
    loss: Annotated[Loss, option("Loss, by the starter code's name.")] = "CrossEntropyLoss"
    label_smoothing: Annotated[
        float,
        option(
            "Share s of a video's k labels spread over all C classes: (1 - s) y + s k / C.",
            ge=0,
            le=1,
        ),
    ] = 0.0
    teacher: Annotated[
        str,
        option("Prediction cache whose first member is mixed into the targets.", metavar="H5"),
    ] = ""
    teacher_weight: Annotated[
        float, option("Share w of the teacher: the target is (1 - w) y + w p.", ge=0, le=1)
    ] = 0.5
    optimizer: Annotated[OptimizerName, option("Optimizer.")] = "Adam"
    weight_decay: Annotated[
        float,
        option("With AdamW: decay of matrices a step, times the learning rate.", ge=0),
    ] = 0.01
    clip_gradient_norm: Annotated[
        float, option("Largest norm of one variable's gradient; 0 does not clip.", ge=0)
    ] = 1.0
    regularization_penalty: Annotated[float, option("Weight of the L2 terms.", ge=0)] = 1.0
    batch_norm_decay: Annotated[
        float,
        option(
            "Decay of batch norm's moving averages; in early steps (1 + step) / (10 + step).",
            ge=0,
            le=1,
        ),
    ] = 0.999
    ema_decay: Annotated[
        float,
        option(
            "Decay of a moving average of the weights, kept beside them; 0 is none.", ge=0, le=1
        ),
    ] = 0.0
    precision: Annotated[MatmulPrecision, option("Dtype of matrix products.")] = "float32"
    num_epochs: Annotated[
        int, option("Passes over the records; 0 repeats until `--max-steps`.", ge=0)
    ] = 5
    max_steps: Annotated[
        int, option("Steps in all, those before a resume included; 0 is no limit.", ge=0)
    ] = 0
    save_steps: Annotated[
        int, option("Steps between checkpoints; the last step is always saved.", ge=1)
    ] = 1000
    save_minutes: Annotated[
        float, option("Longest time without a checkpoint; 0 is no limit.", ge=0)
    ] = 15.0
    log_steps: Annotated[int, option("Steps between metrics of a batch.", ge=1)] = 10
    export_steps: Annotated[
        int,
        option("Export each checkpoint that passes a multiple of so many steps; 0 is none.", ge=0),
    ] = 0
    validation_data: Annotated[
        str, option("Labeled records to score at every checkpoint.", metavar="GLOB")
    ] = ""
    early_stop: Annotated[
        int,
        option("Checkpoints without a better validation GAP to stop after; 0 never stops.", ge=0),
    ] = 0

    def check(self) -> None:
        """Refuse a run without an end, and options without what they need.

        Raises:
            UsageError: If there is one.
        """
        if not self.num_epochs and not self.max_steps:
            msg = "Training would never end. Set `--max-steps`, or `--num-epochs` above 0."
            raise UsageError(msg, option="--max-steps")
        if self.early_stop and not self.validation_data:
            msg = "`--early-stop` needs records to score. Set `--validation-data`."
            raise UsageError(msg, option="--validation-data")

    def learning_rate_at(self, step: int, num_steps: int = 0) -> float:
        """Return the learning rate of a step.

            staircase   rate * decay ** floor(step * batch / decay examples)
            cosine      rate * (1 + cos(pi * step / num_steps)) / 2

        either times `(step + 1) / warmup_steps` while that is below 1.

        Args:
            step: Steps done.
            num_steps: Steps in all, for the cosine.

        Examples:
            >>> options = TrainingOptions(batch_size=10, learning_rate_decay_examples=100)
            >>> options.learning_rate_at(19)
            0.0095
        """
        rate = self.learning_rate
        if self.warmup_steps:
            rate *= min(1.0, (step + 1) / self.warmup_steps)
        if self.schedule == "cosine":
            return rate * (1 + math.cos(math.pi * min(1.0, step / max(num_steps, 1)))) / 2
        periods = step * self.batch_size // self.learning_rate_decay_examples
        return rate * self.learning_rate_decay**periods


@dataclass(frozen=True, kw_only=True)
class TrainOptions(TrainingOptions, VocabularyOptions, FeatureOptions, ImportOptions):
    """Options of `train_model`.

    Attributes:
        model_options: Options of the architecture by name, such as `moe_num_mixtures`.
        on_warning: Called before the first step with what the first videos hold that may not be
            expected; `None` does not look.
    """

    model: Annotated[str, option("Architecture, such as MoeModel.", metavar="NAME")]
    train_data: Annotated[str, option("Labeled records.", metavar="GLOB")]
    train_dir: Annotated[str, option("Where checkpoints go.", metavar="DIR")]
    start_new_model: Annotated[
        bool, option("Remove an earlier run from the directory, and start at step 0.")
    ] = False
    model_options: Mapping[str, Option] = field(default_factory=dict)
    on_warning: Callable[[str], object] | None = field(default=None, repr=False, compare=False)
