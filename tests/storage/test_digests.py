import numpy as np

from yt8m_ensemble.storage import PredictionsWriter, predictions_digest


def write(path, *, cut=10, change=0.0):
    draw = np.random.default_rng(0)
    ids = np.array([f"v{n}".encode() for n in range(10)])
    scores = draw.random((2, 10, 5)).astype(np.float32)
    scores[1, 9, 4] += change
    labels = draw.random((10, 5)) < 0.4
    with PredictionsWriter(
        str(path), members=("a", "b"), digests=("1", "2"), num_classes=5
    ) as writer:
        for start in range(0, 10, cut):
            rows = slice(start, start + cut)
            writer.append(ids[rows], scores[:, rows], labels[rows])
            writer.end_shard(f"s{start}")
    return predictions_digest(str(path))


def test_the_digest_is_of_the_content_alone(tmp_path):
    digest = write(tmp_path / "a.h5")
    assert write(tmp_path / "b.h5", cut=3) == digest
    assert write(tmp_path / "c.h5", change=1e-7) != digest
