"""Averages of checkpoints that other code wrote and named."""

import shutil

import numpy as np
import pytest

from yt8m_ensemble.checkpoints import open_checkpoint, write_checkpoint
from yt8m_ensemble.errors import CheckpointError, UsageError
from yt8m_ensemble.loading.weights import open_weights
from yt8m_ensemble.steps.avg_ckpt import average_checkpoints
from yt8m_ensemble.steps.convert_checkpoint import convert_checkpoint


@pytest.fixture
def foreign(shared):
    return shared / "foreign"


def tensors(path):
    with open_weights(str(path)) as (source, _):
        return {name: np.array(source.read(name)) for name in source.specs()}


def test_any_name_of_checkpoints_is_found(foreign, tmp_path):
    folder = foreign / "checkpoint_manager"
    first = average_checkpoints(prefix=str(folder), last=2, out=str(tmp_path / "a"))
    assert [path.rpartition("/")[2] for path in first.inputs] == ["ckpt-20", "ckpt-30"]
    for number, prefix in enumerate((folder, f"{folder}/ckpt", f"{folder}/ckpt-")):
        done = average_checkpoints(
            prefix=str(prefix), step_range=(10, 20), out=str(tmp_path / f"b{number}")
        )
        assert [path.rpartition("/")[2] for path in done.inputs] == ["ckpt-10", "ckpt-20"]
    arrays = [tensors(folder / f"ckpt-{step}") for step in (20, 30)]
    name = "net/w/.ATTRIBUTES/VARIABLE_VALUE"
    np.testing.assert_allclose(
        tensors(tmp_path / "a")[name], np.mean([a[name] for a in arrays], axis=0), rtol=1e-6
    )


def test_one_of_several_names_is_asked_for(tmp_path):
    for name in ("best-3", "last-4", "last-5"):
        write_checkpoint(str(tmp_path / "d" / name), {"w": np.ones(3, np.float32)})
    with pytest.raises(CheckpointError, match=r"called best, last\. Name one, as with") as error:
        average_checkpoints(prefix=str(tmp_path / "d"), last=1, out=str(tmp_path / "o"))
    assert error.value.names == ["best", "last"]
    done = average_checkpoints(prefix=str(tmp_path / "d/last"), last=2, out=str(tmp_path / "o"))
    assert len(done.inputs) == 2


def test_moving_averages_are_dropped_or_taken(foreign, tmp_path):
    folder = foreign / "moving_averages"
    plain = average_checkpoints(prefix=str(folder), last=3, out=str(tmp_path / "a"))
    assert "tower/gates/weights/ExponentialMovingAverage" in plain.dropped
    shadows = average_checkpoints(prefix=str(folder), last=3, use_ema=True, out=str(tmp_path / "b"))
    assert shadows.num_tensors == plain.num_tensors == 4
    each = [tensors(folder / f"network-{step}") for step in (100, 200, 300)]
    for out, ending in (("a", ""), ("b", "/ExponentialMovingAverage")):
        wanted = np.mean([one["tower/gates/weights" + ending] for one in each], axis=0)
        found = tensors(tmp_path / out)["tower/gates/weights"]
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    with pytest.raises(UsageError, match=r"`--use-ema`: .* holds no"):
        average_checkpoints(
            prefix=str(foreign / "checkpoint_manager"),
            last=2,
            use_ema=True,
            out=str(tmp_path / "c"),
        )


@pytest.mark.parametrize("name", ["sharded/net-1200", "partitioned/model.ckpt-7",
                                  "keras_tf_weights/ckpt", "keras3.keras", "keras3.weights.h5",
                                  "keras_legacy.h5", "keras_legacy_weights.h5"])  # fmt: skip
@pytest.mark.parametrize("ending", ["", ".safetensors"])
def test_two_copies_average_to_the_same_weights(foreign, tmp_path, name, ending):
    place = foreign / name
    copies = []
    for number in range(2):
        copy = tmp_path / f"{number}"
        shutil.copytree(place.parent, copy) if "/" in name else copy.mkdir()
        if "/" not in name:
            shutil.copy(place, copy)
        copies.append(str(copy / place.name))
    done = average_checkpoints(prefix=copies, out=str(tmp_path / f"o{ending}"))
    found, wanted = tensors(f"{tmp_path}/o{ending}"), tensors(place)
    assert found.keys() == wanted.keys() - {*done.dropped}
    assert not any("optimizer" in tensor for tensor in found)
    for tensor in found.keys() - {"_CHECKPOINTABLE_OBJECT_GRAPH"}:
        np.testing.assert_array_equal(found[tensor], wanted[tensor])


@pytest.mark.tf
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras, under new numpy
def test_keras_finds_its_layers_in_an_average(foreign, tmp_path):
    import keras

    def build(seed):
        keras.utils.set_random_seed(seed)
        layers = [keras.layers.Dense(5, name="a"), keras.layers.Dropout(0.5),
                  keras.layers.BatchNormalization(), keras.layers.Dense(3, name="b")]  # fmt: skip
        return keras.Sequential([keras.Input((4,)), *layers])

    models = [build(1), build(1)]
    models[1].layers[0].bias.assign(np.ones(5))
    for number, model in enumerate(models):
        model.save_weights(tmp_path / f"m-{number}.weights.h5")
    paths = [str(tmp_path / f"m-{number}.weights.h5") for number in range(2)]
    average_checkpoints(prefix=paths, out=str(tmp_path / "o.weights.h5"))
    loaded = build(2)
    loaded.load_weights(tmp_path / "o.weights.h5")
    np.testing.assert_allclose(loaded.layers[0].bias.numpy(), np.full(5, 0.5))
    found, wanted = (model.layers[3].kernel.numpy() for model in (loaded, models[0]))
    np.testing.assert_array_equal(found, wanted)
    assert foreign.exists()


def test_layouts_that_no_keras_reads_are_not_written(foreign, tmp_path):
    path = str(foreign / "keras_legacy_weights.h5")
    with pytest.raises(CheckpointError, match="the names of a Keras before 3"):
        average_checkpoints(prefix=path, out=str(tmp_path / "o.h5"))
    with pytest.raises(CheckpointError, match="the names of a Keras before 3"):
        convert_checkpoint(path, str(tmp_path / "o.h5"))
    with pytest.raises(UsageError, match="would be a whole model"):
        average_checkpoints(prefix=path, out=str(tmp_path / "o.keras"))
    assert not list(tmp_path.iterdir())


def test_the_first_format_is_named(foreign, tmp_path):
    path = str(foreign / "v1_format/model.ckpt-1200")
    with pytest.raises(CheckpointError, match="TensorFlow's first format"):
        average_checkpoints(prefix=path, last=1, out=str(tmp_path / "o"))
    with pytest.raises(CheckpointError, match="TensorFlow's first format"):
        open_checkpoint(path)
