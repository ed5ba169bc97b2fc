"""Serve one archive after another as `official_client.py` serves one, in any TensorFlow.

    python -I official_server.py CLIENT.py

Each archive is loaded by that client's code into a graph and a session of its own; only the
process and its import of TensorFlow are shared. Standard input carries a path on a line of its own
before each pair of arrays, standard output the version of TensorFlow first, then the predictions.
It holds no code of the package, and runs under Python 3.6.
"""

import os
import runpy
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np


def main(client: str) -> None:
    """Answer until standard input ends."""
    functions = runpy.run_path(client)
    load, read_array, write_array = (functions[n] for n in ("load", "read_array", "write_array"))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow

    tf = tensorflow
    if not tensorflow.__version__.startswith("1."):
        tf = tensorflow.compat.v1
        tf.disable_eager_execution()
    config = tf.ConfigProto(allow_soft_placement=True)
    answers.write(tensorflow.__version__.encode() + b"\n")
    answers.flush()
    for line in iter(sys.stdin.buffer.readline, b""):
        features, counts = (read_array(sys.stdin.buffer) for _ in range(2))
        with tempfile.TemporaryDirectory() as directory, tarfile.open(line.decode().strip()) as tar:
            tar.extractall(directory)
            with tf.Graph().as_default(), tf.Session(config=config) as session:
                inputs, num_frames, predictions = load(tf, session, Path(directory))
                scores = session.run(predictions, {inputs: features, num_frames: counts})
        write_array(answers, np.asarray(scores))
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
