"""The command group `yt8m-ens` and what becomes of an error. Loads click and the standard library.

Every command file is imported here, so none may import more than click at its top: `--help` stays
fast (a test watches which modules it loads).
"""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn

import click

from yt8m_ensemble import __version__
from yt8m_ensemble.cli.avg_ckpt import avg_ckpt
from yt8m_ensemble.cli.blend import blend
from yt8m_ensemble.cli.compare import compare
from yt8m_ensemble.cli.convert import convert
from yt8m_ensemble.cli.edit import edit
from yt8m_ensemble.cli.eval import evaluate
from yt8m_ensemble.cli.extract import extract
from yt8m_ensemble.cli.inspect import inspect
from yt8m_ensemble.cli.merge import merge
from yt8m_ensemble.cli.merge_predictions import merge_predictions
from yt8m_ensemble.cli.package import package
from yt8m_ensemble.cli.predict import predict
from yt8m_ensemble.cli.report import report
from yt8m_ensemble.cli.run import run
from yt8m_ensemble.cli.select import select
from yt8m_ensemble.cli.signals import signals_raised
from yt8m_ensemble.cli.silence_tensorflow import SilenceTensorFlow
from yt8m_ensemble.cli.synth import synth
from yt8m_ensemble.cli.train import train
from yt8m_ensemble.cli.tune_weights import tune_weights
from yt8m_ensemble.cli.verify import verify
from yt8m_ensemble.errors import EnsembleError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_ERROR = 1

_FILE_ERRORS = {
    "NotFoundError": errno.ENOENT,
    "PermissionDeniedError": errno.EACCES,
    "UnauthenticatedError": errno.EACCES,
    "ResourceExhaustedError": errno.ENOSPC,
    "UnavailableError": errno.ENETUNREACH,
    "FailedPreconditionError": errno.ENETUNREACH,
    "DeadlineExceededError": errno.ETIMEDOUT,
    "UnimplementedError": errno.ENOSYS,
}
"""TensorFlow's exceptions for what happens to files, as the system would number them."""


@click.group(
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        # The starter code spells its flags with underscores.
        "token_normalize_func": lambda token: token.replace("_", "-"),
    }
)
@click.version_option(__version__, prog_name="yt8m-ens")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress, only results and errors.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(*, quiet: bool, debug: bool) -> None:
    """Turn trained YouTube-8M classifiers into the best single file to ship.

    Train single models, average ranges of their checkpoints, merge them into one float16 graph,
    tune the mixture weights against GAP, and package what the challenge's official reader loads.
    """
    # Read in `main`, where errors arrive, and where progress is shown.
    del debug, quiet


cli.add_command(select)
cli.add_command(compare)
cli.add_command(merge_predictions)
cli.add_command(avg_ckpt)
cli.add_command(blend)
cli.add_command(convert)
cli.add_command(edit)
cli.add_command(extract)
cli.add_command(inspect)
cli.add_command(evaluate)
cli.add_command(merge)
cli.add_command(package)
cli.add_command(predict)
cli.add_command(report)
cli.add_command(run)
cli.add_command(synth)
cli.add_command(train)
cli.add_command(tune_weights)
cli.add_command(verify)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Exit codes: 0 done, 1 our error, 2 wrong usage, 130 interrupted, 143 terminated.

    Raises:
        EnsembleError: With `--debug`, for its traceback.
        OSError: With `--debug`, for its traceback.
    """
    sys.meta_path.insert(0, SilenceTensorFlow())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Else TensorFlow imports Keras 3, a quarter of its start-up; nothing here uses any Keras.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a path may hold what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    with signals_raised() as received:
        try:
            code = cli.main(arguments, prog_name="yt8m-ens", standalone_mode=False)
            sys.stdout.flush()
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort) as error:
            _exit_interrupted(error)
        except Exception as error:
            if received:  # extension modules turn a signal during their import into other errors
                _exit_interrupted(error)
            if "--debug" in arguments or (ours := _as_ours(error, arguments)) is None:
                raise
            click.echo(f"Error: {ours}", err=True)
            _echo_notes(ours)
            if "--json" in arguments:
                found = {
                    "error": type(ours).__name__,
                    "message": str(ours),
                    "details": ours.details,
                }
                click.echo(json.dumps(found, default=str))
            sys.exit(EXIT_ERROR)
    sys.exit(code if isinstance(code, int) else 0)


def _as_ours(error: Exception, arguments: Sequence[str]) -> EnsembleError | None:
    """Return what the user is told; `None` for an error that only a bug can raise."""
    if isinstance(error, EnsembleError):
        return error
    if not isinstance(error, OSError):
        if not any(kind.__name__ == "OpError" for kind in type(error).__mro__):
            return None
        refused = _as_os_error(error)
        if refused is None:
            return None
    else:
        refused = error
    from yt8m_ensemble.files import file_error

    path = str(refused.filename)
    before = [a for a, b in pairwise(arguments) if b == path and a.startswith("--")]
    ours = file_error(refused, option=before[0] if before else None)
    for note in getattr(error, "__notes__", ()):
        ours.add_note(note)
    return ours


def _as_os_error(error: Exception) -> OSError | None:
    """Return what TensorFlow's file layer was refused; `None` for its other errors."""
    reason = str(getattr(error, "message", ""))
    path, _, text = reason.rpartition("; ")
    for number in errno.errorcode:
        if text == os.strerror(number):
            return OSError(number, text, path)
    known = _FILE_ERRORS.get(type(error).__name__)
    return OSError(known, f"TensorFlow's file layer says: {reason}") if known else None


def _exit_interrupted(error: BaseException) -> NoReturn:
    signal_number = signal.SIGINT
    cause: BaseException | None = error
    click.echo("Interrupted; no output was replaced by a part of another.", err=True)
    while cause is not None:
        signal_number = getattr(cause, "signal_number", signal_number)
        _echo_notes(cause)
        cause = cause.__cause__
    sys.exit(128 + signal_number)


def _echo_notes(error: BaseException) -> None:
    for note in getattr(error, "__notes__", ()):
        click.echo(note, err=True)
