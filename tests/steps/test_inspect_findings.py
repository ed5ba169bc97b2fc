"""`inspect` names what the graph beside a checkpoint would be refused for, or asked about."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from yt8m_ensemble.checkpoints import write_checkpoint
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.steps.inspect import inspect_checkpoint

pytestmark = pytest.mark.tf


def write_graph(path, make, *, evil=None):
    v1 = tf.compat.v1
    with tf.Graph().as_default():
        x, n = v1.placeholder(tf.float32, (None, 8), "x"), v1.placeholder(tf.int32, (None,), "n")
        y = make(x, n)
        if evil:
            evil()
        for name, tensor in (("input_batch_raw", x), ("num_frames", n), ("predictions", y)):
            v1.add_to_collection(name, tensor)
        v1.train.export_meta_graph(path)


def wrote(x, _):
    def step(count, value):
        with tf.control_dependencies([tf.raw_ops.WriteFile(filename="f", contents="c")]):
            return count + 1, value + 1.0

    loop = tf.function(lambda value: tf.while_loop(lambda c, _: c < 2, step, (0, value))[1])
    return loop(x)


def switched(x, _):
    training = tf.compat.v1.placeholder_with_default(True, (), "is_training")
    return tf.cond(training, lambda: x, lambda: x * tf.compat.v1.placeholder(tf.float32, (), "k"))


@pytest.mark.parametrize(
    ("make", "findings"),
    [
        (lambda x, _: x * 2.0, {}),
        (lambda x, _: tf.random.shuffle(x), {"random": ("RandomShuffle 'RandomShuffle'",)}),
        (wrote, {"refused": ("WriteFile 'WriteFile'",)}),
        (
            switched,
            {"defaults": ("PlaceholderWithDefault 'is_training'",), "unfed": ("Placeholder 'k'",)},
        ),
        # What is fed ends the way, as it does in a session.
        (lambda x, n: x + tf.cast(n, tf.float32)[:, None], {}),
    ],
    ids=["sound", "random", "writes a file in a loop", "switched", "both inputs"],
)
def test_what_a_graph_depends_on_is_named(tmp_path, make, findings):
    prefix = str(tmp_path / "model.ckpt-7")
    write_checkpoint(prefix, {"w": np.ones(1)})
    write_graph(f"{prefix}.meta", make, evil=lambda: tf.io.read_file("unreached"))
    found = inspect_checkpoint(prefix).graph
    assert found is not None
    assert found.findings == findings
    shown = CliRunner().invoke(cli, ["inspect", prefix])
    for names in findings.values():
        assert names[0].replace("'", "") in shown.output.replace("'", "")


def test_they_are_found_without_tensorflow(tmp_path):
    prefix = str(tmp_path / "model.ckpt-7")
    write_checkpoint(prefix, {"w": np.ones(1)})
    write_graph(f"{prefix}.meta", wrote)
    code = (
        "import sys; from yt8m_ensemble.steps.inspect import inspect_checkpoint\n"
        f"assert inspect_checkpoint({prefix!r}).graph.findings\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
