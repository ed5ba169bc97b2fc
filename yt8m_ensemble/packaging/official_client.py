"""Load a model the way its users do, and answer batches with predictions.

An archive is loaded as the official reader does, a SavedModel directory by its signatures. Run by
path in a process of its own (`python -I official_client.py MODEL BYTES`, the most memory that it
may take), under Python 3.6 with TensorFlow 1.8 as well as under today's: it imports nothing of this
package, so that what it shows is what a plain TensorFlow makes of the model. One step of the reader
it leaves out: it starts no queue runners, which read files that the archive names.

Standard output first carries one line of JSON (versions, the graph's inputs), then one `.npy`
array of predictions for each pair of `.npy` arrays (features, frame counts) on standard input,
until that ends. A pair of one-dimensional uint8 and int64 is serialized records, end to end, and
their lengths; a SavedModel answers it with two arrays, classes and scores. Everything else goes to
standard error.
"""

import json
import os
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

# Neither TensorFlow nor numpy 1.18 carries types; these names tell a reader what is meant.
Array = Any
Module = Any
Session = Any
Tensor = Any


def main(archive: str, memory: int) -> None:
    """Load the model in `archive` and serve its predictions."""
    limit_memory(memory)
    # Whatever a library prints must not come between the arrays.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Else TensorFlow 2 imports Keras 3, a third of its start-up; no graph needs it.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    import tensorflow

    tf = tensorflow
    if not tensorflow.__version__.startswith("1."):
        tf = tensorflow.compat.v1
        tf.disable_eager_execution()
    config = tf.ConfigProto(allow_soft_placement=True)
    with tempfile.TemporaryDirectory(prefix="yt8m-") as directory:
        is_archive = not Path(archive).is_dir()
        if is_archive:
            with tarfile.open(archive) as tar:
                # As the official reader does; whoever runs this has checked the archive.
                tar.extractall(directory)  # noqa: S202
        with tf.Session(config=config, graph=tf.Graph()) as session, session.graph.as_default():
            if is_archive:
                tensors = load(tf, session, Path(directory))
            else:
                tensors = load_saved_model(tf, session, archive)
            serve(session, tensors, answers)


def limit_memory(size: int) -> None:
    """Let allocations beyond a size fail, where the system can tell memory from address space."""
    try:
        import resource
    except ImportError:  # no such thing under Windows
        return
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def serve(session: Session, tensors: "list[Tensor]", answers: BinaryIO) -> None:
    """Describe the model, then answer batches until standard input ends."""
    import tensorflow

    inputs, num_frames, predictions = tensors[:3]
    hello = {
        "python": sys.version.split()[0],
        "tensorflow": tensorflow.__version__,
        "operations": len(session.graph.get_operations()),
        "input": describe(inputs),
        "num_frames": describe(num_frames),
        "predictions": describe(predictions),
    }
    answers.write(json.dumps(hello).encode() + b"\n")
    answers.flush()
    while True:
        features = read_array(sys.stdin.buffer)
        if features is None:
            return
        second = read_array(sys.stdin.buffer)
        if features.dtype == np.uint8 and features.ndim == 1:
            records, best, classes = tensors[3:]
            ends = np.cumsum(second)
            serialized = [part.tobytes() for part in np.split(features, ends[:-1])]
            for found in session.run([classes, best], {records: serialized}):
                write_array(answers, found)
        else:
            feeds = {inputs: features, num_frames: second}
            write_array(answers, np.asarray(session.run(predictions, feeds)))
        answers.flush()


def load(tf: Module, session: Session, directory: Path) -> "list[Tensor]":
    """Import and restore a model as the official reader does, but for its queue runners.

    Args:
        tf: TensorFlow with the interface of version 1.
        session: Where to restore it.
        directory: Where the archive was unpacked.

    Returns:
        Its input, frame count and prediction tensors.

    Raises:
        KeyError: If the flags lack one that the reader needs.
    """
    flags = json.loads((directory / "model_flags.json").read_text())
    for key in ("feature_names", "feature_sizes", "frame_features"):
        if key not in flags:
            message = f"model_flags.json lacks {key}"
            raise KeyError(message)
    # The reader of 2019 looks in the folder, that of 2018 at the root.
    folder = directory / "inference_model"
    prefix = str((folder if folder.is_dir() else directory) / "inference_model")
    with tf.device("/cpu:0"):
        saver = tf.train.import_meta_graph(prefix + ".meta", clear_devices=True)
    saver.restore(session, prefix)
    tensors = [
        tf.get_collection(name)[0] for name in ("input_batch_raw", "num_frames", "predictions")
    ]
    session.run(tf.variables_initializer(tf.get_collection(tf.GraphKeys.LOCAL_VARIABLES)))
    return tensors


def load_saved_model(tf: Module, session: Session, directory: str) -> "list[Tensor]":
    """Load a SavedModel as TensorFlow 1 and TensorFlow Serving do.

    Args:
        tf: TensorFlow with the interface of version 1.
        session: Where to restore it.
        directory: The SavedModel.

    Returns:
        The input, frame count and prediction tensors of `features`; of `serving_default` the
        records, and the highest scores and their classes.
    """
    signatures = tf.saved_model.loader.load(session, ["serve"], directory).signature_def
    dense, serving = signatures["features"], signatures["serving_default"]
    infos = [
        *(dense.inputs[name] for name in ("input_batch_raw", "num_frames")),
        dense.outputs["predictions"],
        serving.inputs["example_bytes"],
        *(serving.outputs[name] for name in ("predictions", "class_indexes")),
    ]
    return [session.graph.get_tensor_by_name(info.name) for info in infos]


def describe(tensor: Tensor) -> "dict[str, Any]":
    """Return name, dtype and shape of a tensor as JSON values."""
    shape = tensor.shape.as_list() if tensor.shape.ndims is not None else None
    return {"name": tensor.name, "dtype": tensor.dtype.name, "shape": shape}


def read_array(stream: BinaryIO) -> Array:
    """Read one `.npy` array from a pipe.

    Args:
        stream: A buffered binary stream without a position.

    Returns:
        The array; `None` where the stream ends.

    Raises:
        ValueError: If the stream holds something else.
        EOFError: If it ends within an array.
    """
    magic = stream.read(np.lib.format.MAGIC_LEN)
    if not magic:
        return None
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if magic[-2] != 1 or fortran or dtype.hasobject:
        message = "Expected a .npy array of version 1, numbers in C order."
        raise ValueError(message)
    # numpy's own reader asks for the position, which a pipe does not know.
    size = dtype.itemsize * int(np.prod(shape))
    content = stream.read(size)
    if len(content) < size:
        message = "The stream ended in the middle of an array."
        raise EOFError(message)
    return np.frombuffer(content, dtype).reshape(shape)


def write_array(stream: BinaryIO, array: Array) -> None:
    """Write one `.npy` array to a pipe."""
    array = np.ascontiguousarray(array)
    header = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(stream, header)
    stream.write(memoryview(array.reshape(-1)).cast("B"))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
