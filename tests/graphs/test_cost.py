import pytest

from tests.builders.models import FRAME, VIDEO, small_flags, write_train_dir
from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.graphs.cost import measure_parts
from yt8m_ensemble.merging import Member, build_merged_graph, plan_merge
from yt8m_ensemble.models import build_graph
from yt8m_ensemble.values import MixtureWeights

pytestmark = pytest.mark.tf


def merged(tmp_path, model, features):
    members = []
    for seed in (0, 1):
        flags = small_flags(model)
        directory = write_train_dir(tmp_path / f"m{seed}", flags, seed=seed)
        source = open_checkpoint(str(directory / "model.ckpt-1"))
        members.append(Member(f"m{seed}", build_graph(flags), source, features, 4))
    weights = MixtureWeights.uniform(["m0", "m1"])
    return build_merged_graph(members, plan_merge(members, weights=weights))


def test_every_node_has_one_owner_and_sharing_is_seen(tmp_path):
    graph = merged(tmp_path, "LogisticModel", VIDEO)
    parts = {part.name: part for part in measure_parts(graph)}
    assert list(parts) == ["shared", "m0", "m1", "mixture"]
    # All but the two placeholders.
    assert sum(part.num_nodes for part in parts.values()) == len(graph.graph_def.node) - 2
    assert set(parts["m0"].variables) == {
        "m0/tower/fully_connected/weights",
        "m0/tower/fully_connected/biases",
    }
    assert parts["mixture"].variables == ("mixture_weights",)


def test_a_dense_layer_costs_two_operations_a_weight():
    (part,) = measure_parts(build_graph(small_flags("LogisticModel")))
    # 8 x 4 weights: 64. Norm of 8 inputs: square 8, sum 1, maximum 1, root 1, scaled 8. Biases 4,
    # sigmoid 4.
    assert part.flops == 2 * 8 * 4 + (8 + 1 + 1 + 1 + 8) + 4 + 4


def test_frames_cost_in_proportion(tmp_path):
    graph = merged(tmp_path, "NetVLADModelLF", FRAME)
    few, many = (sum(p.flops for p in measure_parts(graph, num_frames=n)) for n in (100, 200))
    assert 1.5 < many / few < 2
