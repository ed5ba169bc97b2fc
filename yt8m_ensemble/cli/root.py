"""The command group `yt8m-ens` and what becomes of an error. Loads click and the standard library.

Every command file is imported here, so none may import more than click at its top: `--help` stays
fast (a test watches which modules it loads).
"""

from __future__ import annotations

import json
import os
import sys
from typing import NoReturn

import click

from yt8m_ensemble import __version__
from yt8m_ensemble.cli.avg_ckpt import avg_ckpt
from yt8m_ensemble.cli.compare import compare
from yt8m_ensemble.cli.convert import convert
from yt8m_ensemble.cli.eval import evaluate
from yt8m_ensemble.cli.inspect import inspect
from yt8m_ensemble.cli.merge import merge
from yt8m_ensemble.cli.merge_predictions import merge_predictions
from yt8m_ensemble.cli.package import package
from yt8m_ensemble.cli.predict import predict
from yt8m_ensemble.cli.run import run
from yt8m_ensemble.cli.select import select
from yt8m_ensemble.cli.silence_tensorflow import SilenceTensorFlow
from yt8m_ensemble.cli.synth import synth
from yt8m_ensemble.cli.train import train
from yt8m_ensemble.cli.tune_weights import tune_weights
from yt8m_ensemble.cli.verify import verify
from yt8m_ensemble.errors import EnsembleError

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130


@click.group(
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        # The starter code spells its flags with underscores.
        "token_normalize_func": lambda token: token.replace("_", "-"),
    }
)
@click.version_option(__version__, prog_name="yt8m-ens")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(*, debug: bool) -> None:
    """Turn trained YouTube-8M classifiers into the best single file to ship.

    Train single models, average ranges of their checkpoints, merge them into one float16 graph,
    tune the mixture weights against GAP, and package what the challenge's official reader loads.
    """
    del debug  # read in `main`, where errors arrive


cli.add_command(select)
cli.add_command(compare)
cli.add_command(merge_predictions)
cli.add_command(avg_ckpt)
cli.add_command(convert)
cli.add_command(inspect)
cli.add_command(evaluate)
cli.add_command(merge)
cli.add_command(package)
cli.add_command(predict)
cli.add_command(run)
cli.add_command(synth)
cli.add_command(train)
cli.add_command(tune_weights)
cli.add_command(verify)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 our error, 2 wrong usage, 130 interrupted.

    Raises:
        EnsembleError: With `--debug`, for its traceback.
    """
    sys.meta_path.insert(0, SilenceTensorFlow())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Else TensorFlow imports Keras 3, a quarter of its start-up; nothing here uses any Keras.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = cli.main(arguments, prog_name="yt8m-ens", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted; nothing half-written was left behind.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except EnsembleError as error:
        if "--debug" in arguments:
            raise
        click.echo(f"Error: {error}", err=True)
        if "--json" in arguments:
            found = {"error": type(error).__name__, "message": str(error), "details": error.details}
            click.echo(json.dumps(found, default=str))
        sys.exit(EXIT_ERROR)
    sys.exit(code if isinstance(code, int) else 0)
