"""Print GAP of each member of a prediction cache and of their uniform mixture in each space.

python examples/compare_spaces.py validate.h5
"""

import sys

import yt8m_ensemble as yt


def main(path: str) -> None:
    """Read the cache and print a line a member and a line a space."""
    with yt.open_predictions(path) as predictions:
        labels = predictions.labels
        if labels is None:
            sys.exit(f"'{path}' holds no labels.")
        truth = labels.to_dense()
        scores = [predictions.scores(name) for name in predictions.members]
    for name, own in zip(predictions.members, scores, strict=True):
        print(f"{name:24} {yt.global_average_precision(own, truth):.5f}")
    for space in ("probability", "logit", "geometric"):
        weights = yt.MixtureWeights.uniform(predictions.members, space=space)
        print(
            f"uniform, {space:15} {yt.global_average_precision(yt.mix(scores, weights), truth):.5f}"
        )


if __name__ == "__main__":
    main(sys.argv[1])
