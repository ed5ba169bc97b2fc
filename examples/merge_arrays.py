"""Average tensors that are in memory, and write them as a checkpoint that TensorFlow restores.

python examples/merge_arrays.py averaged/model.ckpt-2
"""

import sys

import numpy as np

import yt8m_ensemble as yt


def main(prefix: str) -> None:
    """Write the mean of two sets of tensors and print what the checkpoint holds."""
    first = {"w": np.zeros((2, 3), np.float32), "global_step": np.array(1)}
    second = {"w": np.ones((2, 3), np.float32), "global_step": np.array(2)}
    yt.write_checkpoint(prefix, yt.average([first, second]))
    with yt.open_checkpoint(prefix) as written:
        for name in written.specs():
            print(name, written.read(name).tolist())


if __name__ == "__main__":
    main(sys.argv[1])
