"""What may be averaged, decided before any weight is read."""

import numpy as np
import pytest

from yt8m_ensemble.averaging import find_optimizer_tensors, plan_average
from yt8m_ensemble.errors import CheckpointError, TensorMismatchError
from yt8m_ensemble.values import DictSource

BASE = {"w": np.ones((2, 3), np.float32), "global_step": np.array(5)}


def plan(first, second, **options):
    sources = {"a/ckpt": DictSource(first), "b/ckpt": DictSource(second)}
    return plan_average(sources, newest="b/ckpt", **options)


def test_counters_come_from_the_newest():
    newer = {**BASE, "global_step": np.array(9)}
    result = plan(BASE, newer)
    assert [spec.name for spec in result.averaged] == ["w"]
    assert result.copied["global_step"] == 9
    assert list(result.specs) == ["global_step", "w"]


@pytest.mark.parametrize(
    "name", ["global_step", "step", "m/iterations", "save_counter/.ATTRIBUTES/VARIABLE_VALUE"]
)
def test_names_of_counters(name):
    assert plan({**BASE, name: np.array(1)}, {**BASE, name: np.array(2)}).copied[name] == 2


def test_other_integers_and_strings_must_be_equal():
    for value, other in ((np.arange(3), np.arange(3) + 1), (np.array(b"x"), np.array(b"y"))):
        first, second = {**BASE, "table": value}, {**BASE, "table": other}
        assert np.array_equal(plan(first, first).copied["table"], value)
        with pytest.raises(TensorMismatchError, match=r"'table' .* holds one value in") as error:
            plan(first, second)
        assert error.value.tensor == "table"
        assert error.value.checkpoints == ("b/ckpt", "a/ckpt")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"w": np.ones((2, 1), np.float32)}, r"'w' is \(2, 3\) in 'a/ckpt' but \(2, 1\) in"),
        ({"w": np.ones((2, 3), np.int32)}, "'w' is float32 in 'a/ckpt' but int32 in 'b/ckpt'"),
        ({"v": np.ones(2)}, "'v' is in 'b/ckpt' but not in 'a/ckpt'"),
    ],
)
def test_differences_are_named(change, words):
    with pytest.raises(TensorMismatchError, match=words) as error:
        plan(BASE, {**BASE, **change})
    assert error.value.count == 1
    assert str(error.value).endswith("List them with `yt8m-ens inspect a/ckpt --diff b/ckpt`.")


def test_three_differences_are_shown_and_the_rest_counted():
    many = {f"v{i}": np.ones(1) for i in range(5)}
    with pytest.raises(TensorMismatchError, match=r"'v2'.*; 2 more tensors differ") as error:
        plan(BASE, {**BASE, **many})
    assert "v3" not in str(error.value)
    assert len(error.value.details["differences"]) == 5  # type: ignore[arg-type]


def test_optimizer_tensors_are_left_out_unless_kept():
    slots = {"w/Adam": np.ones((2, 3), np.float32), "beta1_power": np.array(0.9, np.float32)}
    assert plan({**BASE, **slots}, {**BASE, **slots}).dropped == ("beta1_power", "w/Adam")
    assert plan(BASE, {**BASE, **slots}).dropped == ("beta1_power", "w/Adam")
    kept = plan({**BASE, **slots}, {**BASE, **slots}, keep_optimizer=True)
    assert [spec.name for spec in kept.averaged] == ["beta1_power", "w", "w/Adam"]
    with pytest.raises(TensorMismatchError):
        plan(BASE, {**BASE, **slots}, keep_optimizer=True)


def test_optimizers_of_object_based_checkpoints():
    end = "/.ATTRIBUTES/VARIABLE_VALUE"
    names = [
        f"model/kernel{end}", f"opt/_iterations{end}", f"opt/_variables/0{end}",
        f"model/kernel/.OPTIMIZER_SLOT/old/m{end}", f"model/optional{end}",
        f"opt/_trainable_variables/0{end}",
    ]  # fmt: skip
    assert find_optimizer_tensors(names) == set(names[1:4])


def test_a_layer_named_like_an_optimizer_is_safe():
    names = ["encoder/Adam", "encoder/m", "x/Momentum", "x"]
    assert find_optimizer_tensors(names) == {"x/Momentum"}


def test_nothing_to_average():
    with pytest.raises(CheckpointError, match="'b/ckpt' holds no float tensor") as error:
        plan({"n": np.arange(3)}, {"n": np.arange(3)})
    assert error.value.checkpoint == "b/ckpt"


def test_overridden_values_replace_the_mean():
    result = plan(BASE, BASE).override({"w": np.zeros((2, 3), np.float32)})
    assert result.averaged == ()
    assert result.copied["w"].sum() == 0
    assert result.specs["w"].shape == (2, 3)


def test_fixtures_of_the_original(fixtures):
    from yt8m_ensemble.checkpoints import open_checkpoint

    with open_checkpoint(str(fixtures / "tiny/c2h8/model.ckpt-210")) as source:
        result = plan_average({"x": source}, newest="x")
    assert (len(result.averaged), len(result.copied), len(result.dropped)) == (32, 1, 46)
