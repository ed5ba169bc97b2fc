"""Several processes, several devices: who they are, what they read, and that they learn as one."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.builders.records import write_learnable_records
from tests.training.test_loop import flags_of, run, scalars_of, weights_of
from yt8m_ensemble.checkpoints import find_steps
from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.training import Cluster, read_cluster
from yt8m_ensemble.values import Checkpoint

pytestmark = pytest.mark.tf

ROOT = Path(__file__).parents[2]
SETTINGS = {"batch_size": 64, "learning_rate": 0.05, "log_steps": 1, "num_epochs": 0}


def config(**jobs):
    return {"cluster": jobs, "task": {"type": "worker", "index": 0}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, Cluster()),
        ('{"task": {"type": "master", "index": 0}}', Cluster()),
        (json.dumps(config(master=["m:1"], worker=["w:1"])), Cluster(("m:1", "w:1"), 1)),
        (json.dumps(config(worker=["w:1", "w:2"])), Cluster(("w:1", "w:2"), 0)),
    ],
    ids=["none", "alone", "master and workers", "workers"],
)  # fmt: skip
def test_the_place_of_this_process_is_read(monkeypatch, text, expected):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text:
        monkeypatch.setenv("TF_CONFIG", text)
    assert read_cluster() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a cluster description"),
        ("[1]", "not a cluster description"),
        ('{"cluster": {"worker": ["w:1"]}, "task": {"type": "worker"}}', "not a cluster"),
        (json.dumps(config(chief=["c:1"])), "this is worker 0, but its cluster lists chief 0"),
        (json.dumps(config(ps=["p:1"], worker=["w:1"])), "lists parameter servers"),
    ],
)
def test_other_descriptions_are_refused(monkeypatch, text, message):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError, match=message):
        read_cluster()


def test_every_file_is_read_by_one_process():
    paths = [f"{i}" for i in range(5)]
    shares = [Cluster(("a", "b"), index).share(paths) for index in (0, 1)]
    assert shares == [["0", "2", "4"], ["1", "3"]]
    with pytest.raises(UsageError, match="1 record files cannot be shared by 2 workers") as caught:
        Cluster(("a", "b"), 0).share(["x"])
    assert caught.value.num_workers == 2


def start(code, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_USE_LEGACY_KERAS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_workers(glob, train_dir, **settings):
    """Start a chief and a worker that train together on loopback."""
    ports = []
    for _ in range(2):
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            ports.append(found.getsockname()[1])
    jobs = {"chief": [f"127.0.0.1:{ports[0]}"], "worker": [f"127.0.0.1:{ports[1]}"]}
    code = f"""
from tests.builders.models import NUM_CLASSES, VIDEO, train_options
from yt8m_ensemble.steps.train import train_model
train_model(model="MoeModel", train_data={glob!r}, train_dir={str(train_dir)!r},
            num_classes=NUM_CLASSES, **train_options(VIDEO, {{**{SETTINGS!r}, **{settings!r}}}))
"""
    return [
        start(code, TF_CONFIG=json.dumps({"cluster": jobs, "task": {"type": kind, "index": 0}}))
        for kind in jobs
    ]


@pytest.mark.slow
def test_two_workers_learn_what_one_process_learns(tmp_path):
    glob = write_learnable_records(tmp_path / "data")
    validated = {"validation_data": glob, "early_stop": 9}
    workers = start_workers(glob, tmp_path / "two", max_steps=8, save_steps=4, **validated)
    results = [worker.communicate(timeout=300) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], results
    one = run(tmp_path / "one", glob, max_steps=8, **SETTINGS)
    # Every step takes all 64 videos, 32 a worker: only the order of sums differs.
    losses = [scalars_of(tmp_path / d)["label_loss"] for d in ("one", "two")]
    np.testing.assert_allclose(list(losses[1].values()), list(losses[0].values()), rtol=1e-5)
    expected = weights_of(one)
    with_two = weights_of(Checkpoint(f"{tmp_path}/two/model.ckpt-8", 8, {}))
    for name, value in expected.items():
        np.testing.assert_allclose(with_two[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
    assert find_steps(str(tmp_path / "two")) == [4, 8]
    assert len(list((tmp_path / "two").glob("events.*"))) == 1
    # The run goes on in one process where two left it.
    assert run(tmp_path / "two", glob, max_steps=9, **SETTINGS).global_step == 9


@pytest.mark.slow
def test_a_run_that_lost_a_worker_resumes_as_if_unbroken(tmp_path):
    glob = write_learnable_records(tmp_path / "data")
    # Batches differ, and each worker draws numbers of its own.
    drawn = {"batch_size": 16, "mixup": 0.4, "input_dropout": 0.1}
    chief, worker = start_workers(
        glob, tmp_path / "run", max_steps=1_000_000, save_steps=5, **drawn
    )
    try:
        deadline = time.monotonic() + 120
        while not find_steps(str(tmp_path / "run")) and time.monotonic() < deadline:
            time.sleep(0.2)
        worker.kill()
        _, errors = chief.communicate(timeout=120)
    finally:
        for process in (chief, worker):
            process.kill()
            process.communicate()
    assert chief.returncode == 1
    assert "of 2 workers at least one is gone" in errors
    reached = find_steps(str(tmp_path / "run"))[-1]
    assert f"run@{reached}'. Start all workers again" in errors
    weights = []
    for name in ("run", "unbroken"):
        both = start_workers(glob, tmp_path / name, max_steps=reached + 3, **drawn)
        results = [process.communicate(timeout=300) for process in both]
        assert [process.returncode for process in both] == [0, 0], results
        last = f"{tmp_path / name}/model.ckpt-{reached + 3}"
        weights.append(weights_of(Checkpoint(last, reached + 3, {})))
    assert set(weights[0]) == set(weights[1])
    for name, value in weights[1].items():
        np.testing.assert_array_equal(weights[0][name], value, err_msg=name)


@pytest.mark.slow
def test_two_devices_of_one_machine_learn_what_one_learns(tmp_path):
    glob = write_learnable_records(tmp_path / "data")
    code = f"""
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
from yt8m_ensemble.training import Cluster
Cluster.strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
from pathlib import Path
from tests.training.test_loop import run
run(Path({str(tmp_path / "two")!r}), {glob!r}, max_steps=6, **{SETTINGS!r})
"""
    process = start(code)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    run(tmp_path / "one", glob, flags=flags_of(), max_steps=6, **SETTINGS)
    losses = [scalars_of(tmp_path / d)["label_loss"] for d in ("one", "two")]
    np.testing.assert_allclose(list(losses[1].values()), list(losses[0].values()), rtol=1e-5)
