"""A sound inference model, merged from pico models; made once."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.builders.models import small_flags, write_train_dir


@dataclass(frozen=True)
class SoundModel:
    directory: Path
    meta: Any
    flags: dict[str, Any]
    specs: dict[str, Any]


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    """Two video-level models of 24 classes in one graph."""
    from yt8m_ensemble.steps.merge import merge_models

    folder = tmp_path_factory.mktemp("sound")
    for seed, (name, model) in enumerate({"a": "LogisticModel", "b": "MoeModel"}.items()):
        write_train_dir(folder / name, small_flags(model, num_classes=24), seed=seed)
    members = [f"{name}={folder / name}" for name in "ab"]
    merge_models(members=members, out=str(folder / "m"), weights=(0.25, 0.75))
    return folder / "m"


@pytest.fixture
def sound(model_dir):
    """The parts of that model, safe to change."""
    from yt8m_ensemble.checkpoints import open_checkpoint
    from yt8m_ensemble.graphs import read_meta_graph

    with open_checkpoint(str(model_dir / "inference_model")) as source:
        specs = dict(source.specs())
    flags = json.loads((model_dir / "model_flags.json").read_text())
    return SoundModel(
        model_dir, read_meta_graph(str(model_dir / "inference_model.meta")), flags, specs
    )
