"""What may be said of a training run, and how it is refused."""

import pytest

from yt8m_ensemble.errors import UsageError

pytestmark = pytest.mark.tf


def options(**values):
    from yt8m_ensemble.options import TrainingOptions

    return TrainingOptions(**values)


@pytest.mark.parametrize(
    ("field", "value"),
    [("batch_size", 0), ("learning_rate", -0.1), ("label_smoothing", 1.5), ("save_steps", 0),
     ("ema_decay", -1.0), ("learning_rate_decay_examples", 0)],
)  # fmt: skip
def test_numbers_out_of_range_name_their_option(field, value):
    option = "--" + field.replace("_", "-")
    with pytest.raises(UsageError, match=f"`{option}`: expected .*, got {value}") as caught:
        options(**{field: value})
    assert caught.value.option == option
    assert caught.value.found == value


def test_training_must_end():
    with pytest.raises(UsageError, match="Set `--max-steps`, or `--num-epochs` above 0"):
        options(num_epochs=0)
    assert options(num_epochs=0, max_steps=1).max_steps == 1


def test_early_stop_needs_records():
    with pytest.raises(UsageError, match="Set `--validation-data`"):
        options(early_stop=2)


def test_precisions_are_listed():
    with pytest.raises(UsageError, match='expected one of float32, bfloat16, got "float8"'):
        options(precision="float8")


def test_the_learning_rate_is_a_staircase():
    rates = options(
        batch_size=10, learning_rate=1.0, learning_rate_decay=0.5, learning_rate_decay_examples=25
    )
    assert [rates.learning_rate_at(step) for step in range(6)] == [1, 1, 1, 0.5, 0.5, 0.25]
