"""TensorBoard event files without TensorBoard: scalars under the starter code's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType


class ScalarWriter:
    """Append scalars to an event file; a context manager.

    `tf.summary.scalar` needs the tensorboard package; writing the protocol buffer does not.

    Args:
        directory: Where the file is made; `None` writes nothing.
    """

    def __init__(self, directory: str | None) -> None:
        self._writer = (
            tf.summary.create_file_writer(directory)
            if directory
            else tf.summary.create_noop_writer()
        )

    def __enter__(self) -> ScalarWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.close()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write one value for each tag at a step."""
        summary = tf.compat.v1.Summary()
        for tag, value in values.items():
            summary.value.add(tag=tag, simple_value=value)
        with self._writer.as_default():
            tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step=step)
        self._writer.flush()
