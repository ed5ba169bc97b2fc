"""Share a prediction among workers of Apache Beam, kill one of them, and lose nothing.

    pip install -e '.[beam]'
    python examples/many_machines.py OUT

trains a small model on generated frames and scores 24 record files twice: in one process, and by
two workers that Beam's own job service starts on this machine. One worker is killed in the middle;
the job then stands still, is interrupted, and given again. Beam options after OUT are for a cluster
of yours instead, where this script kills nothing:

    python examples/many_machines.py OUT --runner=FlinkRunner --flink_master=HOST:8081 WORKERS
    python examples/many_machines.py OUT --runner=SparkRunner --spark_master_url=URL WORKERS

WORKERS is `--environment_type=DOCKER --environment_config=IMAGE` with an image that holds this
package, and OUT must be the same folder for all workers.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import yt8m_ensemble as yt

FILES, WORKERS = 24, 2
STALLED_SECONDS, PATIENCE_SECONDS = 15, 120


def serve_jobs(port_file: str) -> None:
    """Run Beam's job service; by itself it gives a job one worker, and has no option for more."""
    from apache_beam.runners.portability import local_job_service_main
    from apache_beam.runners.portability.fn_api_runner import fn_runner

    class ManyWorkersRunner(fn_runner.FnApiRunner):
        def __init__(self, **options: object) -> None:
            super().__init__(**options)
            self._num_workers = WORKERS

    fn_runner.FnApiRunner = ManyWorkersRunner
    local_job_service_main.run(["--port_file", port_file])


@contextmanager
def local_cluster(folder: Path) -> Iterator[tuple[list[str], Callable[[], list[int]]]]:
    """Start a job service and a worker pool.

    Yields:
        Beam's options for them, and a function that returns the process ids of live workers.
    """
    # The pool starts `python`: this one.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    port_file = folder / "port"
    with socket.create_server(("localhost", 0)) as free:
        pool_port = free.getsockname()[1]
    commands = [
        [sys.executable, __file__, "--serve-jobs", str(port_file)],
        [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main",
         f"--service_port={pool_port}"],
    ]  # fmt: skip
    with (folder / "cluster.log").open("w") as log:
        service, pool = (
            subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, "PATH": path})
            for command in commands
        )
        try:
            wait_until(port_file.exists)
            yield (
                [
                    "--runner=PortableRunner",
                    f"--job_endpoint=localhost:{port_file.read_text()}",
                    "--environment_type=EXTERNAL",
                    f"--environment_config=localhost:{pool_port}",
                ],
                lambda: children(pool.pid),
            )
        finally:
            for process in (pool, service):
                process.terminate()
                process.wait()


def children(parent: int) -> list[int]:
    """Return the process ids of a process's children."""
    found = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, check=False)
    return [int(line) for line in found.stdout.split()]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something to be true.

    Raises:
        TimeoutError: If it is not after two minutes.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.02)


def lose_a_worker(command: list[str], parts: Path, workers: Callable[[], list[int]]) -> None:
    """Start a prediction, kill a worker once a file is scored, interrupt what stands still."""

    def count() -> int:
        return len([*parts.glob("*.h5")])

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: count() > 0)
        victim, *others = workers()
        os.kill(victim, signal.SIGKILL)
        print(f"killed 1 of {1 + len(others)} workers after {count()} of {FILES} files")
        seen, since = count(), time.monotonic()
        while process.poll() is None and time.monotonic() - since < STALLED_SECONDS:
            time.sleep(0.1)
            if count() > seen:
                seen, since = count(), time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_SECONDS)
    finally:
        process.kill()
    print(f"the job ended with exit code {process.returncode} and {count()} of {FILES} files")


def make(folder: Path) -> tuple[str, str]:
    """Return a small model that was trained, and the records to score."""
    shape = {"level": "frame", "classes": 60, "feature_sizes": (64, 16), "frames": (60, 120)}
    yt.synthesize(videos=400, seed=1, out=str(folder / "train"), **shape)
    yt.synthesize(videos=1200, seed=2, shards=FILES, out=str(folder / "records"), **shape)
    yt.train_model(
        model="NetVLADModelLF",
        model_options={"netvlad_cluster_size": 8, "netvlad_hidden_size": 32},
        train_data=f"{folder}/train/*.tfrecord",
        train_dir=f"{folder}/netvlad",
        features="frame",
        feature_sizes="64,16",
        num_classes=60,
        batch_size=64,
        num_epochs=2,
        learning_rate=0.005,
    )
    return f"{folder}/netvlad", f"{folder}/records/*.tfrecord"


def main(out: str, *beam_options: str) -> None:
    """Score records in one process and on Beam, and compare."""
    folder = Path(out)
    folder.mkdir(parents=True)
    model, records = make(folder)
    yt.predict_scores(models=[model], data=records, cache=f"{out}/one.h5")

    def command(options: tuple[str, ...] | list[str]) -> list[str]:
        start = [sys.executable, "-m", "yt8m_ensemble", "predict", "--model", model]
        start += ["--data", records, "--cache", f"{out}/beam.h5", "--runner", "beam", "--json"]
        return start + [f"--beam-option={option}" for option in options]

    if beam_options:
        subprocess.run(command(beam_options), check=True)
    else:
        with local_cluster(folder) as (local, workers):
            lose_a_worker(command(local), folder / "beam.h5.parts", workers)
            again = subprocess.run(command(local), check=True, stdout=subprocess.PIPE)
        result = json.loads(again.stdout)
        left = result["num_videos"] - result["num_resumed"]
        print(f"given again, it scored the other {left} videos")
    with yt.open_predictions(f"{out}/one.h5") as one, yt.open_predictions(f"{out}/beam.h5") as two:
        same = np.array_equal(one.video_ids, two.video_ids)
        same = same and np.array_equal(one.scores(0), two.scores(0))
        print(f"{two.num_videos} videos, as one process scores them: {same}")


if __name__ == "__main__":
    if sys.argv[1] == "--serve-jobs":
        serve_jobs(sys.argv[2])
    else:
        main(*sys.argv[1:])
