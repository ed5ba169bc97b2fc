"""The step `compare_graphs` and the command `inspect --graph --diff`."""

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from tests.builders.models import small_flags, write_train_dir
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.steps.compare_graphs import compare_graphs
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.package import package_model

if TYPE_CHECKING:
    from yt8m_ensemble.options.choices import Fp16

pytestmark = [pytest.mark.tf, pytest.mark.slow]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    for seed, name in enumerate("abc"):
        flags = small_flags("LogisticModel", num_classes=300)
        write_train_dir(folder / name, flags, seed=seed)
    for out, members in (("wide", "ab"), ("narrow", "ab"), ("other", "ac"), ("three", "abc")):
        named = [f"m{n}={folder / name}" for n, name in enumerate(members)]
        fp16: Fp16 = "auto" if out == "narrow" else "none"
        merge_models(members=named, out=str(folder / out), mix="probability", fp16=fp16)
    package_model(model=str(folder / "narrow"), out=str(folder / "narrow.tgz"))
    return folder


def compare(world, first, second):
    return compare_graphs(str(world / first), str(world / second))


def test_a_model_is_itself_also_in_an_archive(world):
    found = compare(world, "narrow", "narrow.tgz")
    assert (found.graph.added, found.graph.removed, found.graph.changed) == ((), (), ())
    assert found.weights == ()
    assert found.num_weights == 5


def test_float16_adds_casts_and_moves_weights_by_rounding_alone(world):
    found = compare(world, "wide", "narrow")
    assert {operation.op for operation in found.graph.added} == {"Cast"}
    assert found.graph.removed == ()
    assert {change.op for change in found.graph.changed} >= {"VariableV2"}
    assert found.weights == ()


def test_another_member_is_other_weights_in_the_same_graph(world):
    found = compare(world, "wide", "other")
    assert (found.graph.added, found.graph.removed, found.graph.changed) == ((), (), ())
    assert {weight.first: weight.num_changed for weight in found.weights} == {
        "m1/tower/fully_connected/weights": 2400,
        "m1/tower/fully_connected/biases": 300,
    }
    assert all(weight.first == weight.second for weight in found.weights)
    assert all(weight.largest > 0 for weight in found.weights)


def test_the_command_prints_tables_and_json(world):
    arguments = [
        "inspect",
        str(world / "wide"),
        "--graph",
        "--diff",
        str(world / "three"),
        "--json",
    ]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["graph"]
    # Members are alike but for their names: one more of them is one more of its operations.
    assert sum(operation["op"] == "VariableV2" for operation in found["added"]) == 2
    assert [change["op"] for change in found["changed"]].count("VariableV2") == 1
    assert "operations are the same" in done.stderr
    assert "added" in done.stderr
