from dataclasses import replace

import pytest

from tests.builders.models import FRAME, VIDEO, small_flags, write_train_dir
from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.errors import (
    CheckpointError,
    ModelError,
    ShapeError,
    TensorMismatchError,
)
from yt8m_ensemble.merging import Member, plan_merge
from yt8m_ensemble.models import build_graph
from yt8m_ensemble.values import DictSource, MixtureWeights

pytestmark = pytest.mark.tf


@pytest.fixture
def members(tmp_path):
    made = []
    for seed, (name, model) in enumerate((("a", "LogisticModel"), ("b", "MoeModel"))):
        flags = small_flags(model)
        directory = write_train_dir(tmp_path / name, flags, seed=seed)
        source = open_checkpoint(str(directory / "model.ckpt-1"))
        made.append(Member(name, build_graph(flags), source, VIDEO, 4))
    return made


def uniform(members):
    return MixtureWeights.uniform([member.name for member in members])


def test_every_variable_is_planned_once_below_its_member(members):
    plan = plan_merge(members, weights=uniform(members))
    names = [tensor.target.name for tensor in plan.tensors]
    assert names == sorted(set(names))
    assert {name.split("/")[0] for name in names} == {"a", "b"}
    assert plan.nbytes == plan.source_nbytes


def test_auto_float16_takes_large_weights_and_spares_statistics(tmp_path):
    flags = small_flags("NetVLADModelLF", netvlad_hidden_size=300, gating=True)
    directory = write_train_dir(tmp_path / "n", flags)
    source = open_checkpoint(str(directory / "model.ckpt-1"))
    member = Member("n", build_graph(flags), source, FRAME, 4)
    plan = plan_merge([member], weights=uniform([member]), fp16="auto")
    halves = {t.source for t in plan.tensors if t.storage == "float16"}
    assert "tower/hidden1_weights/hidden1_weights" in halves
    for tensor in plan.tensors:
        statistics = tensor.source.endswith(("moving_mean", "moving_variance"))
        assert (tensor.source in halves) == (tensor.target.size >= 1024 and not statistics)
    kept = plan_merge(
        [member],
        weights=uniform([member]),
        fp16="auto",
        keep_float32=["tower/hidden1_weights/hidden1_weights"],
    )
    assert kept.nbytes > plan.nbytes


def test_an_unknown_tensor_to_keep_is_an_error_with_the_nearest_name(members):
    with pytest.raises(ModelError, match=r"The nearest is '.*fully_connected/weights'"):
        plan_merge(members, weights=uniform(members), keep_float32=["tower/fully_conected/weights"])


def test_members_of_different_features_are_refused(members):
    other = replace(members[1], features=FRAME)
    with pytest.raises(ModelError, match="read different features: 'a' mean_rgb 6") as caught:
        plan_merge([members[0], other], weights=uniform(members))
    assert caught.value.members == ("a", "b")


def test_members_of_different_classes_are_refused(members):
    with pytest.raises(ModelError, match="predict different classes: 'a' 4, 'b' 5"):
        plan_merge([members[0], replace(members[1], num_classes=5)], weights=uniform(members))


def test_a_variable_that_the_checkpoint_lacks_is_named(members):
    arrays = {name: members[0].source.read(name) for name in members[0].source.specs()}
    lost = next(name for name in arrays if name.endswith("biases"))
    del arrays[lost]
    with pytest.raises(CheckpointError, match=f"not in its checkpoint: {lost}") as caught:
        plan_merge([replace(members[0], source=DictSource(arrays))], weights=uniform(members[:1]))
    assert caught.value.missing == [lost]


def test_a_variable_of_another_shape_is_named(members):
    arrays = {name: members[0].source.read(name) for name in members[0].source.specs()}
    name = next(name for name in arrays if name.endswith("weights"))
    arrays[name] = arrays[name][:, :3]
    with pytest.raises(TensorMismatchError, match=r"float32 \(8, 3\) in the checkpoint but"):
        plan_merge([replace(members[0], source=DictSource(arrays))], weights=uniform(members[:1]))


def test_two_members_of_one_name_would_overwrite_each_other(members):
    twins = [members[0], replace(members[0])]
    with pytest.raises(ShapeError, match="Two members would both write 'a/tower/"):
        plan_merge(twins, weights=uniform(members))
