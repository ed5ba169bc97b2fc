"""Load a model in a process of its own that holds a plain TensorFlow and none of our code.

The process runs `official_client.py` by its path; this side feeds it batches and reads scores.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, cast

import numpy as np

from yt8m_ensemble.constants import TIMEOUT_S
from yt8m_ensemble.errors import BundleError, EnsembleError, MissingDependencyError
from yt8m_ensemble.packaging import official_client
from yt8m_ensemble.scratch import scratch_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

CLIENT_PATH: Final = str(Path(official_client.__file__))
"""The script that follows the official reader's steps."""

MAX_MEMORY_BYTES: Final = 16_000_000_000
"""Bytes that the process may allocate; the original ensemble takes 2.2 GB at most."""

_STOP_S: Final = 10.0
_EXCEPTION: Final = re.compile(r"[\w.]*(Error|Exception): ")


@dataclass(frozen=True)
class LoadedModel:
    """A model as the TensorFlow that loaded it sees it.

    Args:
        python: Version of the interpreter.
        tensorflow: Version of TensorFlow.
        operations: Operations in the graph.
        input: Name, dtype and shape of the input tensor.
        num_frames: The same of the frame counts.
        predictions: The same of the predictions.
    """

    python: str
    tensorflow: str
    operations: int
    input: Mapping[str, Any]
    num_frames: Mapping[str, Any]
    predictions: Mapping[str, Any]


class FreshReader:
    """Talk to the process that `fresh_reader` started.

    Args:
        path: The archive, for messages.
        process: It, running `official_client.py`.
        log: What it writes to standard error.
        timeout: Seconds that loading, and each batch, may take.

    Attributes:
        model: What it says of the model that it loaded.

    Raises:
        BundleError: If it does not load the archive, or at a batch stops answering.
    """

    def __init__(
        self, path: str, process: subprocess.Popen[bytes], log: IO[bytes], timeout: float
    ) -> None:
        self._path, self._process, self._log = path, process, log
        self._timeout, self._is_late = timeout, False
        self._batches = cast("BinaryIO", process.stdin)
        self._answers = cast("BinaryIO", process.stdout)
        with self._deadline():
            hello = self._answers.readline()
        if not hello:
            fault = "does not load"
            raise self._failure(fault)
        self.model = LoadedModel(**json.loads(hello))

    def predict(
        self, features: NDArray[np.float32], num_frames: NDArray[np.number]
    ) -> NDArray[np.floating]:
        """Return the model's scores.

        Args:
            features: Shape `(B, F)` or `(B, T, F)`, float32, B at least 1.
            num_frames: Shape `(B,)`.

        Returns:
            Shape `(B, C)`, in the dtype that the graph made them.

        A model that fails on the batch is a `BundleError`.
        """
        (scores,) = self._ask(features, num_frames, answers=1)
        return scores

    def predict_records(
        self, records: Sequence[bytes]
    ) -> tuple[NDArray[np.integer], NDArray[np.floating]]:
        """Return the highest scores by the signature that takes records; of a SavedModel only.

        Args:
            records: Serialized records, at least one.

        Returns:
            Classes and their scores, falling: both `(B, 20)`, or as many as there are classes.

        A model that fails on them is a `BundleError`.
        """
        joined = np.frombuffer(b"".join(records), np.uint8)
        lengths = np.array([len(record) for record in records], np.int64)
        classes, scores = self._ask(joined, lengths, answers=2)
        return classes, scores

    def _ask(self, *batch: NDArray[Any], answers: int) -> list[NDArray[Any]]:
        found: list[NDArray[Any]] = []
        # A process that died leaves a broken pipe or an early end; its log says why.
        with self._deadline(), suppress(BrokenPipeError, EOFError):
            for array in batch:
                official_client.write_array(self._batches, array)
            self._batches.flush()
            found = [official_client.read_array(self._answers) for _ in range(answers)]
        if not found or found[-1] is None:
            fault = "fails on a batch"
            raise self._failure(fault)
        return found

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        """Kill the process if it has not answered in time; reading then comes to an end."""

        def stop() -> None:
            self._is_late = True
            self._process.kill()

        timer = threading.Timer(self._timeout, stop)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _failure(self, what: str) -> EnsembleError:
        self._process.kill()
        self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        # Of exceptions that follow from each other, the first says why.
        said = [line for line in lines if _EXCEPTION.match(line)][:1] or lines[-1:]
        cause = said[0] if said else f"exit code {self._process.returncode}, nothing was said"
        if self._is_late:
            msg = (
                f"'{self._path}' {what}: it was stopped after {self._timeout:g} s without an "
                "answer. Give a slow machine more with `--timeout`."
            )
            return BundleError(msg, path=self._path, timeout=self._timeout, cause="time")
        python = self._process.args[0] if isinstance(self._process.args, list) else ""
        if cause.startswith("ModuleNotFoundError"):
            msg = f"'{python}' cannot run TensorFlow ({cause}). Install it there."
            return MissingDependencyError(msg, python=python, cause=cause)
        msg = f"'{self._path}' {what} as the official reader loads it, in '{python}': {cause}"
        return BundleError(msg, path=self._path, python=python, cause=cause, log=lines)


@contextmanager
def fresh_reader(
    path: str,
    *,
    python: str = sys.executable,
    timeout: float = TIMEOUT_S,
    max_memory: int = MAX_MEMORY_BYTES,
) -> Iterator[FreshReader]:
    """Load a model in a fresh interpreter, and stop that at the end.

    Args:
        path: The archive or SavedModel, local; check it with `list_bundle`, its graph with
            `check_graph` first.
        python: The interpreter; by default the running one.
        timeout: Seconds that loading, and each batch, may take.
        max_memory: Bytes that the process may allocate, where the system can limit them.

    Yields:
        The reader, its model loaded.

    Raises:
        MissingDependencyError: If there is no such interpreter, or it lacks TensorFlow.
    """
    # A file, not a pipe: nobody reads it while batches flow, and a full pipe would block.
    with tempfile.TemporaryFile() as log, scratch_directory() as scratch:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own script, no shell
                [python, "-I", CLIENT_PATH, path, str(max_memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # It is killed if it hangs, and could not tidy up.
                env={**os.environ, "TMPDIR": scratch},
            )
        except OSError as error:
            msg = (
                f"Cannot run '{python}': {error.strerror}. Give the path of a Python interpreter "
                "that has TensorFlow to `--tf1`."
            )
            raise MissingDependencyError(msg, python=python) from error
        with process:
            try:
                yield FreshReader(path, process, log, timeout)
                # The end of its input tells it to tidy up and leave; a graph's own threads may not.
                with suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=_STOP_S)
            finally:
                process.kill()
