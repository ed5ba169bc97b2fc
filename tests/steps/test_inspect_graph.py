import xml.etree.ElementTree as ET

import pytest

from tests.builders.models import small_flags, write_train_dir
from yt8m_ensemble.errors import OutputExistsError
from yt8m_ensemble.steps.inspect_graph import inspect_graph
from yt8m_ensemble.steps.merge import merge_models

pytestmark = pytest.mark.tf


@pytest.fixture
def blend(tmp_path):
    members = [
        str(
            write_train_dir(
                tmp_path / name, small_flags("LogisticModel", num_classes=300), seed=seed
            )
        )
        for seed, name in enumerate("ab")
    ]
    merge_models(
        members=members, weights=(0.75, 0.25), mix="logit", fp16="auto", out=str(tmp_path / "blend")
    )
    return tmp_path / "blend"


def test_a_merged_graph_is_described_by_its_parts(blend):
    found = inspect_graph(str(blend))
    parts = {part.name: part for part in found.parts}
    assert list(parts) == ["shared", "a", "b", "mixture"]
    assert parts["a"].nbytes == {"float16": 2 * 8 * 300, "float32": 4 * 300}
    assert parts["shared"].nbytes == {}
    assert (found.mix, found.weights) == ("logit", {"a": 0.75, "b": 0.25})
    assert found.features == {"mean_rgb": 6, "mean_audio": 2}
    assert parts["a"].flops >= 2 * 8 * 300


def test_the_picture_shows_every_part_and_is_sound_xml(blend, tmp_path):
    svg = tmp_path / "graph.svg"
    inspect_graph(str(blend), svg=str(svg))
    texts = [text.text for text in ET.parse(svg).iter("{http://www.w3.org/2000/svg}text")]
    for text in ("input", "shared", "a", "b", "mixture", "output", "weight 0.75", "mixed by logit"):
        assert text in texts
    with pytest.raises(OutputExistsError):
        inspect_graph(str(blend), svg=str(svg))


def test_a_single_model_has_one_part(tmp_path):
    directory = write_train_dir(tmp_path / "m", small_flags("MoeModel"))
    found = inspect_graph(str(directory))
    assert [part.name for part in found.parts] == ["model"]
    assert found.mix is None
