"""Every exception that the toolkit raises on purpose.

    EnsembleError
    ├── DataError                     a record, label file or glob (ValueError)
    ├── CheckpointError               a checkpoint's files or contents (ValueError)
    │   ├── CheckpointNotFoundError   nothing at that path or step (FileNotFoundError)
    │   └── TensorMismatchError       names, shapes or dtypes differ between checkpoints
    ├── ModelError                    an architecture, its options or its flags (ValueError)
    ├── GraphError                    a graph that breaks the contract (ValueError)
    ├── TrainingError                 a training run that cannot go on (ArithmeticError)
    ├── CastOverflowError             values that do not fit the storage dtype (OverflowError)
    ├── AlignmentError                predictions or labels of different videos (ValueError)
    ├── ShapeError                    arrays of the wrong shape (ValueError)
    ├── MixtureWeightsError           weights that are no mixture (ValueError)
    ├── PredictionsError              a prediction file's layout or contents (ValueError)
    ├── RecipeError                   a recipe's keys or values (ValueError)
    ├── BundleError                   an archive that its reader would refuse (ValueError)
    │   └── BundleTooLargeError       over the size limit
    ├── OutputExistsError             the target is there and `--force` was not given
    ├── FileError                     the file system refused a path (OSError)
    ├── UsageError                    options that contradict each other (ValueError)
    └── MissingDependencyError        an optional package or interpreter is absent

`Interrupted` stands apart: a signal is no mistake.

Each keeps its details as attributes (`error.details`), which `--json` prints. This module holds no
logic but how text of strangers is shown, and imports nothing.
"""

from __future__ import annotations


def printable(text: str, *, keep: str = "\n\t") -> str:
    r"""Escape what a terminal would act on: names in a stranger's file may hold such sequences.

    Args:
        text: Any text.
        keep: Control characters to leave as they are.

    Returns:
        It, with other control characters, bidirectional marks and lone surrogates as escapes.

    Examples:
        >>> printable("a/\x1b[2Jb")
        'a/\\x1b[2Jb'
    """
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )


class EnsembleError(Exception):
    """A mistake in input or options, in at most three sentences.

    Args:
        message: The fact with the offending name, what was found and expected, the next action.
        **details: The same as data; they are also attributes of the exception.
    """

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(printable(message))
        self.details = details

    def __getattr__(self, name: str) -> object:
        """Return a detail by its name.

        Raises:
            AttributeError: If the exception carries no such detail.
        """
        details: dict[str, object] = self.__dict__.get("details", {})
        if name in details:
            return details[name]
        raise AttributeError(name)


class DataError(EnsembleError, ValueError):
    """A record, a ground-truth file or a glob of them cannot be used."""


class CheckpointError(EnsembleError, ValueError):
    """A checkpoint's files or contents are not what they should be."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no checkpoint at that path or step."""


class TensorMismatchError(CheckpointError):
    """Names, shapes or dtypes differ where they must be equal."""


class ModelError(EnsembleError, ValueError):
    """An architecture's name, options or flags do not fit."""


class GraphError(EnsembleError, ValueError):
    """A graph does not keep the contract that its reader relies on."""


class TrainingError(EnsembleError, ArithmeticError):
    """A training run cannot go on."""


class CastOverflowError(EnsembleError, OverflowError):
    """Values do not fit the dtype that they would be stored in."""


class AlignmentError(EnsembleError, ValueError):
    """Predictions or labels are not of the same videos in the same order."""


class ShapeError(EnsembleError, ValueError):
    """An array has the wrong shape."""


class MixtureWeightsError(EnsembleError, ValueError):
    """Weights are negative, not finite, or do not sum to one."""


class PredictionsError(EnsembleError, ValueError):
    """A prediction file has another layout or other contents than expected."""


class RecipeError(EnsembleError, ValueError):
    """A recipe has a key or value that cannot be executed."""


class BundleError(EnsembleError, ValueError):
    """An archive would be refused by the reader it is made for."""


class BundleTooLargeError(BundleError):
    """An archive would exceed the size limit."""


class OutputExistsError(EnsembleError, FileExistsError):
    """The output is already there."""


class FileError(EnsembleError, OSError):
    """The file system refused a path, or it is full."""


class UsageError(EnsembleError, ValueError):
    """Options contradict each other or one that is needed is missing."""


class MissingDependencyError(EnsembleError, ImportError):
    """An optional package or interpreter is not installed."""


class Interrupted(KeyboardInterrupt):
    """A signal ended the command.

    Args:
        signal_number: The signal.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"signal {signal_number}")
        self.signal_number = signal_number
