"""`TrainOptions`: everything about a training run that is not the model or the records."""

from __future__ import annotations

from dataclasses import dataclass

from yt8m_ensemble.errors import UsageError

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class TrainOptions:
    """Say how to train; fields and defaults are the starter code's where it has them.

    Args:
        batch_size: Videos a step, over all workers and devices together.
        learning_rate: Where the learning rate starts.
        learning_rate_decay: Factor applied every `learning_rate_decay_examples` examples.
        learning_rate_decay_examples: Examples between two decays.
        loss: A key of `LOSSES`.
        label_smoothing: Share s of a video's labels spread evenly over all classes: with k labels
            and C classes the target is `(1 - s) y + s k / C`.
        teacher: Prediction file whose first member is mixed into the targets; empty for none.
        teacher_weight: Share w of the teacher: the target is `(1 - w) y + w p`.
        optimizer: A key of `OPTIMIZERS`.
        weight_decay: Decoupled decay of matrices a step, times the learning rate; `AdamW` only.
        clip_gradient_norm: Largest norm of one variable's gradient; 0 does not clip.
        regularization_penalty: Weight of the L2 terms.
        batch_norm_decay: Decay of batch norm's moving averages, once enough steps are done; before,
            `(1 + step) / (10 + step)` where that is smaller, so that short runs have true averages.
        ema_decay: Decay of an average of the weights that is kept beside them, with the same start;
            0 keeps none.
        precision: `bfloat16` takes matrix products in that dtype, all else stays float32.
        num_epochs: Passes over the records; 0 repeats until `max_steps`.
        max_steps: Steps in all, resumed ones included; 0 is no limit.
        save_steps: Steps between checkpoints; the last step is always saved.
        log_steps: Steps between the metrics that are computed on a batch.
        export_steps: Steps between exports as a SavedModel, at the next checkpoint; 0 exports none.
        validation_data: Globs of labelled records scored at every checkpoint; empty for none.
        early_stop: Stop after so many checkpoints without a better validation GAP; 0 never.
        seed: Seed of first values, data order, frame sampling and dropout.

    Raises:
        UsageError: If a number is out of range, or training would never end.
    """

    batch_size: int = 1024
    learning_rate: float = 0.01
    learning_rate_decay: float = 0.95
    learning_rate_decay_examples: int = 4_000_000
    loss: str = "CrossEntropyLoss"
    label_smoothing: float = 0.0
    teacher: str = ""
    teacher_weight: float = 0.5
    optimizer: str = "Adam"
    weight_decay: float = 0.01
    clip_gradient_norm: float = 1.0
    regularization_penalty: float = 1.0
    batch_norm_decay: float = 0.999
    ema_decay: float = 0.0
    precision: str = "float32"
    num_epochs: int = 5
    max_steps: int = 0
    save_steps: int = 1000
    log_steps: int = 10
    export_steps: int = 0
    validation_data: str = ""
    early_stop: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:
                option = "--" + name.replace("_", "-")
                bounds = f"at least {least}" if most == _ANY else f"from {least} to {most}"
                msg = f"`{option}` is {value}, expected {bounds}."
                raise UsageError(msg, option=option, value=value)
        if self.precision not in PRECISIONS:
            msg = f"`--precision` is '{self.precision}', expected one of {', '.join(PRECISIONS)}."
            raise UsageError(msg, option="--precision", value=self.precision)
        if not self.num_epochs and not self.max_steps:
            msg = "Training would never end. Set `--max-steps`, or `--num-epochs` above 0."
            raise UsageError(msg, option="--max-steps")
        if self.early_stop and not self.validation_data:
            msg = "`--early-stop` needs records to score. Set `--validation-data`."
            raise UsageError(msg, option="--validation-data")

    def learning_rate_at(self, step: int) -> float:
        """Return `rate * decay ** floor(step * batch / decay examples)`, the staircase schedule.

        Examples:
            >>> TrainOptions(batch_size=10, learning_rate_decay_examples=100).learning_rate_at(19)
            0.0095
        """
        periods = step * self.batch_size // self.learning_rate_decay_examples
        return self.learning_rate * self.learning_rate_decay**periods


def warm_decay(decay: float, step: int) -> float:
    """Return `min(decay, (1 + step) / (10 + step))`: averages that start short of memory.

    Examples:
        >>> warm_decay(0.999, 0), warm_decay(0.999, 100_000)
        (0.1, 0.999)
    """
    return min(decay, (1 + step) / (10 + step))


_ANY = float("inf")
_RANGES: dict[str, tuple[float, float]] = {
    "batch_size": (1, _ANY),
    "learning_rate": (0, _ANY),
    "learning_rate_decay": (0, _ANY),
    "learning_rate_decay_examples": (1, _ANY),
    "label_smoothing": (0, 1),
    "teacher_weight": (0, 1),
    "weight_decay": (0, _ANY),
    "clip_gradient_norm": (0, _ANY),
    "regularization_penalty": (0, _ANY),
    "batch_norm_decay": (0, 1),
    "ema_decay": (0, 1),
    "num_epochs": (0, _ANY),
    "max_steps": (0, _ANY),
    "save_steps": (1, _ANY),
    "log_steps": (1, _ANY),
    "export_steps": (0, _ANY),
    "early_stop": (0, _ANY),
}
