"""Every architecture's checkpoint and meta graph, restored and run by TensorFlow 1."""

import subprocess

import numpy as np
import pytest

from tests.models.small import CASES, IDS, predictor, random_inputs, random_weights, small_flags
from yt8m_ensemble.checkpoints import write_checkpoint
from yt8m_ensemble.graphs import write_meta_graph
from yt8m_ensemble.models import build_graph

pytestmark = [pytest.mark.tf, pytest.mark.slow]

RUN = """
import sys
import numpy as np
import tensorflow as tf

for number in range(int(sys.argv[2])):
    path = "%s/%d" % (sys.argv[1], number)
    fed = np.load(path + ".npz")
    with tf.Graph().as_default(), tf.Session() as session:
        tf.train.import_meta_graph(path + ".meta", clear_devices=True).restore(session, path)
        inputs, num_frames, predictions = (
            tf.get_collection(key)[0] for key in ("input_batch_raw", "num_frames", "predictions")
        )
        feed = {inputs: fed["inputs"], num_frames: fed["num_frames"]}
        np.save(path + ".npy", session.run(predictions, feed))
"""


@pytest.mark.parametrize("version", ["1.14.0", "1.15.5"])
def test_tensorflow_1_predicts_the_same(tmp_path, tf1_python, version):
    python = tf1_python(version)
    expected = []
    for number, (name, extra) in enumerate(CASES):
        flags = small_flags(name, **extra)
        weights = random_weights(flags)
        inputs, num_frames = random_inputs(flags)
        write_meta_graph(build_graph(flags), str(tmp_path / f"{number}.meta"))
        write_checkpoint(str(tmp_path / str(number)), weights)
        np.savez(tmp_path / f"{number}.npz", inputs=inputs, num_frames=num_frames)
        with predictor(flags, weights) as predict:
            expected.append(predict(inputs, num_frames))
    command = [python, "-c", RUN, str(tmp_path), str(len(CASES))]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for number, scores in enumerate(expected):
        found = np.load(tmp_path / f"{number}.npy")
        np.testing.assert_allclose(found, scores, atol=2e-6, err_msg=IDS[number])
