"""Every writing command on a file system that fills up at some byte: one message, no harm.

The limit is on the size of a file (`RLIMIT_FSIZE`), which every user can set: the system then
refuses a write with "File too large", as a full disk does with "No space left on device".
"""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.builders.models import small_flags, write_train_dir
from tests.builders.predictions import make_predictions
from tests.builders.records import write_video_records
from tests.faults.processes import environment
from yt8m_ensemble.checkpoints import write_checkpoint
from yt8m_ensemble.storage import PredictionsWriter

pytestmark = [pytest.mark.tf, pytest.mark.slow]


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("setting")
    write_video_records(folder / "r0.tfrecord")
    for seed, name in enumerate("ab"):
        for step in (1, 2):
            write_train_dir(folder / name, small_flags("MoeModel"), seed=seed, step=step)
    write_checkpoint(str(folder / "big"), {"w": np.ones(60_000, np.float32)})
    scores, labels = make_predictions(40, 5, 2)
    ids = np.array([b"v%d" % n for n in range(40)])
    for part in range(2):
        rows = slice(20 * part, 20 * part + 20)
        with PredictionsWriter(
            str(folder / f"p{part}.h5"), members="ab", digests="ab", num_classes=5
        ) as writer:
            writer.append(ids[rows], scores[:, rows], labels[rows])
            writer.end_shard(f"shard{part}")
    return folder


COMMANDS = {
    "predict --cache": "predict --model {a} --data {r} --cache {out}.h5",
    "predict --csv": "predict --model {a} --data {r} --csv {out}.csv",
    "merge-predictions": "merge-predictions {s}/p0.h5 {s}/p1.h5 --out {out}.h5",
    "avg-ckpt": "avg-ckpt --prefix {a} --last 2 --allow-different-runs --out {out}",
    "merge": "merge --member {a} --member {b} --out {out}",
    "convert to Keras": "convert checkpoint {s}/big {out}.weights.h5",
    "convert to safetensors": "convert checkpoint {s}/big {out}.safetensors",
    "convert to a checkpoint": "convert checkpoint {s}/big {out}",
    "synth": "synth --videos 20 --classes 5 --shards 2 --out {out}",
    "tune-weights": "tune-weights --predictions {s}/p0.h5 --method grid --out {out}.json",
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_costs_one_message(setting, tmp_path, name):
    words = COMMANDS[name].format(
        a=setting / "a", b=setting / "b", r=setting / "r0.tfrecord", s=setting, out=tmp_path / "out"
    )
    codes = set()
    for limit in (50, 3_000, 200_000):
        done = run_limited(words.split(), limit)
        codes.add(done.returncode)
        assert "Traceback" not in done.stderr, done.stderr
        if done.returncode == 0:
            break
        assert done.returncode == 1, done.stderr
        assert "File too large" in done.stderr
        kept = [entry.name for entry in tmp_path.iterdir()]
        assert [entry for entry in kept if not entry.endswith(".partial")] == []
    assert 1 in codes
    done = run_limited([*words.split(), "--force"], None)
    assert done.returncode == 0, done.stderr
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]


def run_limited(words, limit):
    def restrict():
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-m", "yt8m_ensemble", *words],
        capture_output=True, text=True, check=False, env=environment(), preexec_fn=restrict,
    )  # fmt: skip


@pytest.mark.parametrize("size", ["64k", "3m", "20m"])
@pytest.mark.parametrize("name", ["convert to Keras", "merge-predictions", "predict --cache"])
def test_a_full_tmpfs_does_not_crash_hdf5(setting, tmp_path, name, size):
    # A mount of its own, seen by nobody else; where the machine does not allow that, skip.
    mount = f"mount -t tmpfs -o size={size} tmpfs {tmp_path}"
    script = f'{mount} && "$@"; code=$?; ls -A {tmp_path}; exit $code'
    prefix = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("This machine lets no user mount a tmpfs.")
    words = COMMANDS[name].format(
        a=setting / "a", b=setting / "b", r=setting / "r0.tfrecord", s=setting, out=tmp_path / "out"
    )
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "yt8m_ensemble", *words.split()],
        capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    left = Path(done.stdout.splitlines()[-1]).name if done.stdout else ""
    if done.returncode:
        assert done.returncode == 1, done.stderr
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        assert left in {"", "out.h5.partial"}
    else:
        assert size != "64k"
