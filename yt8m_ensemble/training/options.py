"""`TrainOptions`: everything about a training run that is not the model or the data."""

from __future__ import annotations

from dataclasses import dataclass

from yt8m_ensemble.errors import UsageError


@dataclass(frozen=True)
class TrainOptions:
    """Say how to train; fields and defaults are the starter code's where it has them.

    Args:
        batch_size: Videos a step.
        learning_rate: Where the learning rate starts.
        learning_rate_decay: Factor applied every `learning_rate_decay_examples` examples.
        learning_rate_decay_examples: Examples between two decays.
        loss: A key of `LOSSES`.
        optimizer: A key of `OPTIMIZERS`.
        clip_gradient_norm: Largest norm of one variable's gradient; 0 does not clip.
        regularization_penalty: Weight of the L2 terms.
        num_epochs: Passes over the records; 0 repeats until `max_steps`.
        max_steps: Steps in all, resumed ones included; `None` is no limit.
        save_steps: Steps between checkpoints; the last step is always saved.
        log_steps: Steps between the metrics that are computed on a batch.
        batch_norm_decay: Decay of batch norm's moving averages, once enough steps are done; before,
            `(1 + step) / (10 + step)` where that is smaller, so that short runs have true averages.
        seed: Seed of first values, data order and frame sampling.

    Raises:
        UsageError: If a number is out of range.
    """

    batch_size: int = 1024
    learning_rate: float = 0.01
    learning_rate_decay: float = 0.95
    learning_rate_decay_examples: int = 4_000_000
    loss: str = "CrossEntropyLoss"
    optimizer: str = "Adam"
    clip_gradient_norm: float = 1.0
    regularization_penalty: float = 1.0
    num_epochs: int = 5
    max_steps: int | None = None
    save_steps: int = 1000
    log_steps: int = 10
    batch_norm_decay: float = 0.999
    seed: int = 0

    def __post_init__(self) -> None:
        least = {
            "batch_size": 1,
            "learning_rate": 0,
            "learning_rate_decay": 0,
            "learning_rate_decay_examples": 1,
            "clip_gradient_norm": 0,
            "regularization_penalty": 0,
            "num_epochs": 0,
            "save_steps": 1,
            "log_steps": 1,
            "batch_norm_decay": 0,
        }
        for name, bound in least.items():
            value = getattr(self, name)
            if value < bound:
                option = "--" + name.replace("_", "-")
                msg = f"`{option}` is {value}, expected at least {bound}."
                raise UsageError(msg, option=option, value=value)
        if self.num_epochs == 0 and self.max_steps is None:
            msg = "Training without end: set `--max-steps`, or `--num-epochs` above 0."
            raise UsageError(msg, option="--max-steps")

    def learning_rate_at(self, step: int) -> float:
        """Return `rate * decay ** floor(step * batch / decay examples)`, the staircase schedule.

        Examples:
            >>> TrainOptions(batch_size=10, learning_rate_decay_examples=100).learning_rate_at(19)
            0.0095
        """
        periods = step * self.batch_size // self.learning_rate_decay_examples
        return self.learning_rate * self.learning_rate_decay**periods

    def batch_norm_decay_at(self, step: int) -> float:
        """Return the decay of the moving averages after `step` steps."""
        return min(self.batch_norm_decay, (1 + step) / (10 + step))
