"""Export: blocks of many threads make the bytes that plain arithmetic makes, or nothing."""

from pathlib import Path

import numpy as np
import pytest

from tests.builders.models import VIDEO, small_flags, write_train_dir
from yt8m_ensemble.casting import quantize
from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.errors import CheckpointError
from yt8m_ensemble.merging import (
    Member,
    build_merged_graph,
    export,
    export_inference_model,
    plan_merge,
)
from yt8m_ensemble.models import build_graph
from yt8m_ensemble.values import DictSource, MixtureWeights

pytestmark = pytest.mark.tf

WEIGHTS = "tower/experts/weights"
CLASSES = 200


@pytest.fixture
def prefix(tmp_path):
    flags = small_flags("MoeModel", num_classes=CLASSES)
    return str(write_train_dir(tmp_path / "m", flags) / "model.ckpt-1")


def export_merged(directory, source, **options):
    graph = build_graph(small_flags("MoeModel", num_classes=CLASSES))
    members = [Member("m", graph, source, VIDEO, CLASSES)]
    plan = plan_merge(members, weights=MixtureWeights(("m",), (1.0,)), **options)
    merged = build_merged_graph(members, plan)
    return export_inference_model(str(directory), members, plan, merged)


@pytest.mark.parametrize("source_kind", ["blocks", "arrays"])
@pytest.mark.parametrize("options", [{}, {"fp16": "auto"}, {"quantize": "uint8"}], ids=str)
def test_blocks_of_threads_make_the_bytes_of_plain_arithmetic(
    prefix, tmp_path, monkeypatch, options, source_kind
):
    monkeypatch.setattr(export, "_BLOCK_VALUES", 100)  # dozens of blocks, the last one short
    monkeypatch.setattr("yt8m_ensemble.casting.quantization._BLOCK_VALUES", 100)
    with open_checkpoint(prefix) as source:
        arrays = {name: source.read(name) for name in source.specs()}
        given = source if source_kind == "blocks" else DictSource(arrays)
        casts = export_merged(tmp_path / "out", given, **options)
    values = arrays[WEIGHTS]
    expected = values
    if "fp16" in options:
        expected = values.astype(np.float16)
        (report,) = (cast for cast in casts if cast.name == f"m/{WEIGHTS}")
        errors = np.abs(expected.astype(np.float64) - values)
        assert report.mean_error == pytest.approx(errors.mean())
        assert report.max_error == errors.max()
    elif options:
        expected = quantize("w", values)[0].codes
    with open_checkpoint(str(tmp_path / "out" / "inference_model")) as written:
        found = written.read(f"m/{WEIGHTS}")
        assert found.dtype == expected.dtype
        assert found.tobytes() == expected.tobytes()
        others = [name for name in arrays if arrays[name].size < 1024 and name != "global_step"]
        assert others
        for name in others:
            assert written.read(f"m/{name}").tobytes() == arrays[name].tobytes()


@pytest.mark.parametrize("options", [{}, {"fp16": "auto"}, {"quantize": "uint8"}], ids=str)
def test_a_damaged_byte_in_any_block_leaves_nothing(prefix, tmp_path, monkeypatch, options):
    monkeypatch.setattr(export, "_BLOCK_VALUES", 100)
    data = Path(f"{prefix}.data-00000-of-00001")
    content = bytearray(data.read_bytes())
    with open_checkpoint(prefix) as source:
        place = content.find(source.read(WEIGHTS).tobytes())
    content[place + 2_000] ^= 1
    data.write_bytes(content)
    with (
        open_checkpoint(prefix) as source,
        pytest.raises(CheckpointError, match=f"'{WEIGHTS}' in '.*' is damaged: its checksum"),
    ):
        export_merged(tmp_path / "out", source, **options)
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]
