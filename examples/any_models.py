"""Ship a Keras model, a TensorFlow module, a NetVLAD and a colleague's list of scores as one file.

    yt8m-ens run recipes/quickstart.toml     # makes the records
    python examples/any_models.py runs/quickstart/records ensemble [PYTHON]

PYTHON is an interpreter with TensorFlow 1.15 to prove the result in. Three of the four models read
video-level means, of all features or of one; the ensemble reads frames, and feeds those three with
means of them.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import yt8m_ensemble as yt

NAMES, SIZES, CLASSES = ("rgb", "audio"), (64, 16), 60


def read_means(pattern: str) -> tuple[np.ndarray, np.ndarray]:
    """Read video-level records: features `(N, 80)` and labels `(N, 60)`, float32."""
    spec = {
        f"mean_{name}": tf.io.FixedLenFeature([size], tf.float32)
        for name, size in zip(NAMES, SIZES, strict=True)
    }
    spec["labels"] = tf.io.VarLenFeature(tf.int64)
    records = list(tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(pattern))))
    parsed = tf.io.parse_example(records, spec)
    labels = tf.reduce_max(tf.one_hot(tf.sparse.to_dense(parsed["labels"], -1), CLASSES), axis=1)
    return np.concatenate([parsed["mean_rgb"], parsed["mean_audio"]], axis=1), labels.numpy()


def train_keras(features: np.ndarray, labels: np.ndarray, path: Path) -> None:
    """Train a functional Keras 3 model of all features and save it as `.keras`."""
    inputs = keras.Input((sum(SIZES),))
    hidden = keras.layers.Dense(128, "relu")(keras.layers.LayerNormalization()(inputs))
    outputs = keras.layers.Dense(CLASSES, "sigmoid")(hidden)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy")
    model.fit(features, labels, batch_size=128, epochs=15, verbose=0)
    model.save(path)
    # The sizes are not those of YouTube-8M: these flags name what the inputs are.
    flags = {"feature_names": "mean_rgb,mean_audio", "feature_sizes": "64,16"}
    path.with_name("model_flags.json").write_text(json.dumps(flags | {"frame_features": False}))


def train_module(features: np.ndarray, labels: np.ndarray, path: Path) -> None:
    """Train a linear `tf.Module` of `mean_rgb` alone and save it as a SavedModel."""
    module = tf.Module()
    module.w = tf.Variable(tf.zeros((SIZES[0], CLASSES)))
    module.b = tf.Variable(tf.fill((CLASSES,), -3.0))
    rgb = tf.constant(features[:, : SIZES[0]])
    optimizer = keras.optimizers.Adam(0.01)
    for _ in range(150):
        with tf.GradientTape() as tape:
            logits = rgb @ module.w + module.b
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits))
        optimizer.apply(tape.gradient(loss, [module.w, module.b]), [module.w, module.b])
    signature = [tf.TensorSpec((None, SIZES[0]), tf.float32, "mean_rgb")]
    module.score = tf.function(lambda x: tf.sigmoid(x @ module.w + module.b), signature)
    tf.saved_model.save(module, path, signatures={"serving_default": module.score})
    flags = {"feature_names": "mean_rgb", "feature_sizes": "64", "frame_features": False}
    (path / "model_flags.json").write_text(json.dumps(flags))


def main(records: str, out: str, *python: str) -> None:
    """Train four models, mix all by their scores, and ship the three that are models."""
    folder = Path(out)
    folder.mkdir(parents=True)
    means, frames = (f"{records}/{level}-train/*.tfrecord" for level in ("video", "frame"))
    validate = f"{records}/frame-validate/*.tfrecord"
    keras.utils.set_random_seed(0)
    features, labels = read_means(means)
    train_keras(features, labels, folder / "functional.keras")
    train_module(features, labels, folder / "module")
    trained = {"train_data": frames, "features": "frame", "feature_sizes": "64,16",
               "num_classes": CLASSES, "batch_size": 64}  # fmt: skip
    yt.train_model(
        model="NetVLADModelLF",
        train_dir=f"{out}/netvlad",
        num_epochs=5,
        learning_rate=0.005,
        model_options={"netvlad_cluster_size": 8, "netvlad_hidden_size": 32},
        **trained,
    )
    yt.train_model(
        model="FrameLevelLogisticModel",
        train_dir=f"{out}/hers",
        num_epochs=10,
        learning_rate=0.05,
        **trained,
    )
    yt.predict_scores(models=[f"{out}/hers"], data=validate, csv=f"{out}/hers.csv")

    # A list of the top 20 tunes and blends like a model, but cannot be merged into one.
    paths = {"functional": "functional.keras", "module": "module", "netvlad": "netvlad"}
    models = [f"{name}={out}/{path}" for name, path in paths.items()]
    caches = [f"{out}/models.h5", f"{out}/hers.h5"]
    yt.predict_scores(models=models, data=validate, cache=caches[0])
    yt.convert_scores(
        scores=[f"hers={out}/hers.csv"], out=caches[1], labels=validate, num_classes=CLASSES
    )
    four = yt.tune_weights(predictions=caches, out=f"{out}/four.json")
    yt.blend_scores(scores=caches, weights=f"{out}/four.json", csv=f"{out}/four.csv")
    three = yt.tune_weights(predictions=caches[:1], out=f"{out}/three.json")

    for name, tuned in (("four, blended", four), ("three, merged", three)):
        for judged in tuned.result.judgements:
            print(f"{name}, {judged.name}: GAP {judged.gap:.4f}")

    # In float32 the merged graph is the members' own mixture; what is shipped is half the size.
    for precision, fp16 in (("float32", "none"), ("float16", "auto")):
        model = f"{out}/{precision}"
        yt.merge_models(members=models, weights=f"{out}/three.json", fp16=fp16, out=model)
        yt.package_model(model=model, out=f"{model}.tgz")
        proof = yt.verify_bundle(
            path=f"{model}.tgz", data=validate, against=caches[0], tf1=next(iter(python), None)
        )
        for run in proof.runs:
            if compared := run.comparison:
                print(
                    f"{precision} in TensorFlow {run.model.tensorflow}: GAP {compared.gap:.4f}, "
                    f"differs from the members' mixture by {compared.max_difference:.1e}"
                )


if __name__ == "__main__":
    main(*sys.argv[1:])
