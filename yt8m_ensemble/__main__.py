"""Run `yt8m-ens`, also as `python -m yt8m_ensemble`; catches signals before it imports the rest."""

import os
import signal
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line; a signal while it is being imported ends it without a traceback."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os._exit(128 + number))
    from yt8m_ensemble.cli.root import main as run

    run()


if __name__ == "__main__":
    main()
