"""Seven members in 4.25 bits a weight against the best of them alone in float32.

    python tests/bench/bench_seven_members.py --data FOLDER [--steps 240]

FOLDER holds `train*.tfrecord` and `validate*.tfrecord`, video-level. One half of the validation
videos chooses the best single member and the mixture weights, the other half is what the table
is of. If the seven take more bytes than that member in float32, the lowest-scored are left out
until the rest fits. Models are kept in `--out`, where an interrupted run goes on.
"""

import argparse
import os
import tempfile
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import yt8m_ensemble as yt
from yt8m_ensemble.storage.prediction_set import open_prediction_set
from yt8m_ensemble.tuning import Scorer, judge, split_videos
from yt8m_ensemble.tuning.baselines import apply_mixture
from yt8m_ensemble.values import MixtureWeights

HOLDOUT = 0.5
NETWORK: dict[str, Any] = {"model": "MlpModel", "learning_rate": 0.003, "prior_bias": True}
MEMBERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "logistic": ({"model": "LogisticModel", "learning_rate": 0.01, "prior_bias": True}, {}),
    "network": (NETWORK, {}),
    "one-layer": (NETWORK, {"mlp_layers": 1}),
    "three-layers": (NETWORK, {"mlp_layers": 3}),
    "ungated": (NETWORK, {"mlp_gating": False}),
    "mixup": ({**NETWORK, "mixup": 0.4}, {}),
    "input-dropout": ({**NETWORK, "input_dropout": 0.2}, {}),
}


def train(data, out, *, steps):
    """Train the members; return their directories by name."""
    found = {}
    for seed, (name, (settings, model_options)) in enumerate(MEMBERS.items()):
        found[name] = f"{out}/{name}"
        width = {"mlp_hidden_size": 512} if settings["model"] == "MlpModel" else {}
        yt.train_model(
            train_data=f"{data}/train*.tfrecord",
            train_dir=found[name],
            num_classes=3862,
            batch_size=256,
            max_steps=steps,
            num_epochs=0,
            schedule="cosine",
            warmup_steps=steps // 8,
            seed=seed,
            model_options={**width, **model_options},
            **settings,
        )
    return found


def best_pairs(cache):
    """Return the pairs that GAP counts of the videos that choose, of the rest, and the members."""
    with open_prediction_set([cache]) as opened:
        rows = split_videos(opened.video_ids, fraction=HOLDOUT, seed=0)
        candidates = opened.candidates()
        return *(candidates.select(part) for part in rows), opened.members


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--out", default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        report(arguments.data, arguments.out or scratch, steps=arguments.steps)


def report(data, out, *, steps):
    """Train, merge, tune, and print one row for each way."""
    validate = f"{data}/validate*.tfrecord"
    directories = train(data, out, steps=steps)
    wide, coded, merged = f"{out}/float32.h5", f"{out}/coded.h5", f"{out}/merged"
    models = [f"{name}={path}" for name, path in directories.items()]
    yt.write_scores(models=models, data=validate, cache=wide, force=True)
    chooses, rest, names = best_pairs(wide)
    alone = {
        name: MixtureWeights(names, tuple(float(name == other) for other in names))
        for name in names
    }

    def ranking(mixture, candidates):
        return Scorer(candidates, "probability").ranking_of(apply_mixture(mixture)(candidates))

    def gap(mixture, candidates):
        scores = apply_mixture(mixture)(candidates)
        return Scorer(candidates, "probability").gap_of(scores)

    for name, mixture in alone.items():
        print(
            f"{name:14} GAP {gap(mixture, chooses):.5f} chosen by, "
            f"{gap(mixture, rest):.5f} held out"
        )
    ranked = sorted(names, key=lambda name: -gap(alone[name], chooses))
    best = ranked[0]
    while True:
        made = yt.merge_models(
            members=[f"{name}={directories[name]}" for name in ranked],
            quantize="uint4-groups",
            out=merged,
            force=True,
        )
        budget = made.member_nbytes[best]
        if made.nbytes <= budget:
            break
        ranked.pop()
    yt.write_scores(models=[merged], data=validate, cache=coded, force=True)
    weights = yt.tune_weights(
        predictions=[coded], holdout=HOLDOUT, seed=0, class_bias=False
    ).result.weights
    _, coded_rest, order = best_pairs(coded)
    coded_rest = coded_rest.select_members([order.index(name) for name in weights.names])
    ours = f"{len(ranked)} members, uint4-groups"
    judged = judge(
        "held out",
        {ours: ranking(weights, coded_rest), best: ranking(alone[best], rest)},
    )
    (gain,) = judged.gains
    print(f"weights: {dict(zip(weights.names, weights.values, strict=True))}")
    print(f"{judged.num_videos:,} videos held out")
    print(f"{best}, float32: {budget / 1e6:.2f} MB, GAP {gain.gap:.5f}")
    print(f"{ours}: {made.nbytes / 1e6:.2f} MB, GAP {judged.gap:.5f}")
    low, high = gain.interval
    print(f"gain {gain.difference:+.5f} [{low:+.5f}, {high:+.5f}]")


if __name__ == "__main__":
    main()
