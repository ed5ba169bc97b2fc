"""Models of others that may not be opened: one message each, and nothing of theirs is executed."""

import json
import zipfile

import h5py
import numpy as np
import pytest
import tensorflow as tf

from yt8m_ensemble.errors import EnsembleError, GraphError, ModelError
from yt8m_ensemble.loading.keras_config import check_config
from yt8m_ensemble.loading.model import open_model
from yt8m_ensemble.steps.merge import merge_models

pytestmark = [pytest.mark.tf, pytest.mark.slow]

SPEC = tf.TensorSpec([None, 8], tf.float32, name="x")


def save(folder, functions, **signatures):
    module = tf.Module()
    module.functions = functions
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return str(folder)


def traced(function, *specs):
    return tf.function(function, input_signature=specs or (SPEC,))


def refuse(path, match, error=GraphError, **options):
    out = str(path) + "-out"
    with pytest.raises(error, match=match) as caught:
        merge_models(members=[f"a={path}"], out=out, **options)
    assert not tf.io.gfile.exists(out)
    assert "\n" not in str(caught.value)
    with pytest.raises(EnsembleError), open_model(str(path), **options):
        pass


def test_a_python_function_is_refused_and_not_called(tmp_path):
    called: list[object] = []
    score = traced(lambda x: {"y": tf.py_function(called.append, [x], tf.float32)})
    path = save(tmp_path / "m", [score], serving_default=score)
    refuse(path, "EagerPyFunc")
    assert not called


def test_an_operation_of_files_is_refused_and_not_run(tmp_path):
    def score(x):
        with tf.control_dependencies([tf.io.write_file(str(tmp_path / "canary"), "x")]):
            return {"y": tf.identity(x)}

    function = traced(score)
    refuse(save(tmp_path / "m", [function], serving_default=function), "WriteFile")
    assert not (tmp_path / "canary").exists()


def test_a_custom_operation_is_refused(tmp_path):
    function = traced(lambda x: {"y": tf.sigmoid(x)})
    path = save(tmp_path / "m", [function], serving_default=function)
    file = tmp_path / "m/saved_model.pb"
    file.write_bytes(file.read_bytes().replace(b"Sigmoid", b"Sigmoit"))
    refuse(path, "Sigmoit .* is no operation of TensorFlow")


def test_one_of_several_signatures_is_asked_for(tmp_path):
    one, two = (traced(lambda x, f=f: {"y": tf.sigmoid(x) * f}) for f in (1.0, 0.5))
    path = save(tmp_path / "m", [one, two], first=one, second=two)
    refuse(path, "signatures: first takes .*; second takes .*`yt8m-ens merge --signature`")
    refuse(path, "no signature 'third'. It has first, second", signature="third")
    with open_model(path, signature="second", feature_names="a") as model:
        assert model.predict(np.zeros((1, 8), np.float32))[0, 0] == pytest.approx(0.25)


def test_string_inputs_are_no_features(tmp_path):
    parse = traced(
        lambda s: {"y": tf.reshape(tf.strings.to_number(s), [-1, 1])},
        tf.TensorSpec([None], tf.string, name="examples"),
    )
    refuse(save(tmp_path / "m", [parse], serving_default=parse), r"'examples' \(string, rank 1\)")


def test_ragged_inputs_are_no_features(tmp_path):
    spec = tf.RaggedTensorSpec([None, None], tf.float32)
    score = traced(lambda r: {"y": r.to_tensor()[:, :4]}, spec)
    refuse(save(tmp_path / "m", [score], serving_default=score), "takes a batch of features|ragged")


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_other_dtypes_are_converted(tmp_path, dtype):
    w = tf.Variable(np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32))
    kind = tf.as_dtype(dtype)

    def score(x):
        value = tf.cast(x, tf.float32)
        value = value * (4 / 255) + 4 / 512 - 2 if dtype == "uint8" else value
        return {"y": tf.cast(tf.sigmoid(value @ w), kind if kind.is_floating else tf.float32)}

    function = traced(score, tf.TensorSpec([None, 8], kind, name="x"))
    path = save(tmp_path / "m", [function, w], serving_default=function)
    draw = np.random.default_rng(1).integers(0, 256, (5, 8)).astype(np.float32)
    x = draw * np.float32(4 / 255) + np.float32(4 / 512 - 2)
    with open_model(path) as model:
        found = model.predict(x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-(x @ w.numpy()))), atol=2e-3)


def keras_file(path, config, weights=b""):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights)
    return path


def sequence(*layers):
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "s", "layers": layers},
    }


def layer(class_name, module="keras.layers", registered=None, **config):
    config.setdefault("name", "evil")
    return {"module": module, "class_name": class_name, "config": config,
            "registered_name": registered}  # fmt: skip


LAMBDA = {"class_name": "__lambda__", "config": {"code": "4wEAAAAA"}}


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        (layer("Lambda", function=LAMBDA), "Lambda 'evil' runs Python code"),
        (layer("Dense", units=1, activation=LAMBDA), "__lambda__ 'evil' runs Python code"),
        (layer("TFSMLayer", filepath="x"), "runs a model of another file"),
        (layer("TextVectorization"), "reads text or files"),
        (layer("Dense", module="os"), "is a class of 'os', not of Keras"),
        (layer("Dense", module="keras_evil"), "not of Keras"),
        (layer("system", module="os"), "is not on the list"),
        (layer("Dense", registered="my>Dense"), "registered as 'my>Dense'"),
        (
            layer("Dense", activation={"class_name": "function", "config": "eval"}),
            "the function 'eval'",
        ),
        (layer("Dense", activation={"module": "os", "config": "system"}), "None 'evil'"),
    ],
)  # fmt: skip
def test_a_keras_file_that_would_make_something_else_is_refused(tmp_path, entry, match):
    path = keras_file(tmp_path / "m.keras", sequence(layer("Dense", units=1, name="a"), entry))
    refuse(path, match, ModelError)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(sequence(entry))
    refuse(tmp_path / "m.h5", match, ModelError)


def test_a_real_lambda_is_refused(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((8,)), keras.layers.Lambda(lambda x: x * 2)])
    model.save(tmp_path / "m.keras")
    refuse(tmp_path / "m.keras", "Lambda 'lambda.*' runs Python code", ModelError)


def test_damaged_and_deceiving_containers_are_refused(tmp_path):
    (tmp_path / "a.keras").write_bytes(b"PK no archive")
    refuse(tmp_path / "a.keras", "is no Keras model, or a damaged one", ModelError)
    path = keras_file(tmp_path / "b.keras", sequence())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../evil", "x")
    refuse(path, r"also holds '\.\./evil'", ModelError)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(sequence())
        file["model_weights"] = h5py.ExternalLink("/etc/other.h5", "w")
    refuse(tmp_path / "c.h5", "'model_weights' in it is a link", ModelError)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("w", (1 << 30,), "f4", compression="gzip")
    refuse(tmp_path / "d.h5", "unfolds to 4,294,967,296 bytes", ModelError)
    with zipfile.ZipFile(tmp_path / "e.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", " " * (1 << 25))
    refuse(tmp_path / "e.keras", "unfolds to 33,554,432 bytes", ModelError)
    (tmp_path / "f.pb").write_bytes(b"\xff" * 40)
    refuse(tmp_path / "f.pb", "is no graph")
    (tmp_path / "g").mkdir()
    (tmp_path / "g/saved_model.pb").write_bytes(b"\xff" * 40)
    refuse(tmp_path / "g", "is no SavedModel")


def test_a_deeply_nested_configuration_is_refused():
    text = '{"a":' * 300 + "1" + "}" * 300
    with pytest.raises(ModelError, match=r"nested over 100 deep|nests too deeply"):
        check_config(text, path="m.keras")


def test_a_graph_that_is_not_frozen_is_named(shared, tmp_path):
    meta = tf.compat.v1.MetaGraphDef()
    source = shared / "foreign/unsound_default_true/inference_model.meta"
    meta.ParseFromString(source.read_bytes())
    (tmp_path / "g.pb").write_bytes(meta.graph_def.SerializeToString())
    with pytest.raises(GraphError, match=r"is not frozen|does not tell"):
        open_model(str(tmp_path / "g.pb")).__enter__()
