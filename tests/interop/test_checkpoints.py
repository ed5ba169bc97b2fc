"""Checkpoints of ours restored by TensorFlow 1.15 under Python 3.7."""

import hashlib
import json
import subprocess

import numpy as np
import pytest

from yt8m_ensemble.checkpoints import open_checkpoint, write_checkpoint
from yt8m_ensemble.steps.avg_ckpt import average_checkpoints

pytestmark = [pytest.mark.tf, pytest.mark.slow]

READ = """
import hashlib, json, sys
import tensorflow as tf
reader = tf.train.NewCheckpointReader(sys.argv[1])
found = {}
for name in reader.get_variable_to_shape_map():
    array = reader.get_tensor(name)
    content = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
    found[name] = [str(array.dtype), list(array.shape), hashlib.sha256(content).hexdigest()]
print(json.dumps(found))
"""

RESTORE = """
import sys
import tensorflow as tf
saver = tf.compat.v1.train.import_meta_graph(sys.argv[1], clear_devices=True)
with tf.compat.v1.Session() as session:
    saver.restore(session, sys.argv[2])
    print(session.run("tower/gates/weights:0").sum(dtype="float64"))
"""


def run(python, code, *arguments):
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [python, "-W", "ignore", "-c", code, *arguments],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_every_dtype_is_restored(tf1_python, tmp_path):
    generator = np.random.default_rng(0)
    arrays = {
        "bool": np.array([True, False]),
        "complex": np.array([1 + 2j], np.complex64),
        "double": generator.normal(size=(2, 2)),
        "empty": np.zeros((0, 3), np.float32),
        "global_step": np.array(7, np.int64),
        "half": generator.normal(size=5).astype(np.float16),
        "single": generator.normal(size=(300, 7)).astype(np.float32),
        "text": np.array([b"a\0", b""], object),
        "uint8": np.arange(5, dtype=np.uint8),
    }
    prefix = str(tmp_path / "c")
    write_checkpoint(prefix, arrays)
    found = json.loads(run(tf1_python("1.15.5"), READ, prefix))
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        dtype, shape, digest = found[name]
        content = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
        assert (dtype, tuple(shape)) == (str(array.dtype), array.shape)
        assert digest == hashlib.sha256(content).hexdigest(), name


def test_an_average_is_restored_through_the_originals_graph(tf1_python, fixtures, tmp_path):
    folder = fixtures / "tiny" / "c2h8"
    meta = next(folder.glob("model.ckpt-*.meta"))
    out = str(tmp_path / "avg")
    average_checkpoints(prefix=str(folder), last=4, keep_optimizer=True, out=out)
    total = float(run(tf1_python("1.15.5"), RESTORE, str(meta), out))
    with open_checkpoint(out) as source:
        expected = source.read("tower/gates/weights").sum(dtype=np.float64)
    assert total == pytest.approx(expected, rel=1e-12)
