"""Which file a path to a model stands for."""

import numpy as np
import pytest

from yt8m_ensemble.checkpoints import write_checkpoint
from yt8m_ensemble.errors import CheckpointNotFoundError
from yt8m_ensemble.loading.paths import find_prefix
from yt8m_ensemble.scoring.targets import find_targets


def test_a_train_directory_means_its_newest_checkpoint(tmp_path):
    """Whatever else lies there: the official evaluation leaves an `inference_model` of its step."""
    directory = str(tmp_path)
    with pytest.raises(CheckpointNotFoundError, match="holds no finished"):
        find_prefix(directory)
    write_checkpoint(f"{directory}/inference_model", {"w": np.ones(1)})
    assert find_prefix(directory) == f"{directory}/inference_model"
    for step in (12, 60):
        write_checkpoint(f"{directory}/model.ckpt-{step}", {"w": np.ones(1)})
        assert find_prefix(directory) == f"{directory}/model.ckpt-{step}"
        (target,) = find_targets([directory], checkpoints=None, all_checkpoints=False, watch=None)
        assert target.prefix == f"{directory}/model.ckpt-{step}"
