"""Average tensors that are in memory, and write them as a checkpoint that TensorFlow restores.

python examples/merge_arrays.py averaged/model.ckpt-2
"""

import sys

import numpy as np

from yt8m_ensemble import DictSource, open_checkpoint
from yt8m_ensemble.averaging import mean_blocks, plan_average
from yt8m_ensemble.checkpoints import CheckpointWriter


def main(prefix: str) -> None:
    """Write the mean of two sources and print what the checkpoint holds."""
    sources = {
        "first": DictSource({"w": np.zeros((2, 3), np.float32), "global_step": np.array(1)}),
        "second": DictSource({"w": np.ones((2, 3), np.float32), "global_step": np.array(2)}),
    }
    plan = plan_average(sources, newest="second")
    with CheckpointWriter(prefix) as writer:
        for spec, blocks in mean_blocks(sources, plan.averaged, (0.5, 0.5)):
            writer.add_blocks(spec, blocks)
        writer.add("global_step", sources["second"].read("global_step"))
    with open_checkpoint(prefix) as written:
        for name in written.specs():
            print(name, written.read(name).tolist())


if __name__ == "__main__":
    main(sys.argv[1])
