"""Devices and machines: which `tf.distribute` strategy, which records, and who writes.

One process on its own uses its local GPUs. With several machines each process reads the cluster and
its place in it from the variable `TF_CONFIG`, as the starter code does.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from yt8m_ensemble.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

CHIEFS = ("chief", "master")
"""Job names of the process that writes; the starter code says `master`."""


@dataclass(frozen=True)
class Cluster:
    """The role of this process among those that train together.

    Args:
        addresses: `host:port` of each, the chief first.
        index: Position of this process.
    """

    addresses: tuple[str, ...] = ()
    index: int = 0

    @property
    def num_workers(self) -> int:
        """Processes that train."""
        return max(len(self.addresses), 1)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes checkpoints and scalars."""
        return self.index == 0

    @cached_property
    def strategy(self) -> tf.distribute.Strategy:
        """The strategy; starts servers and waits for the other processes."""
        if self.num_workers > 1:
            resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
                tf.train.ClusterSpec({"worker": list(self.addresses)}),
                task_type="worker",
                task_id=self.index,
                rpc_layer="grpc",
            )
            return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
        if len(tf.config.list_logical_devices("GPU")) > 1:
            return tf.distribute.MirroredStrategy()
        return tf.distribute.get_strategy()

    def share(self, paths: Sequence[str]) -> list[str]:
        """Return the record files that this process reads.

        Raises:
            UsageError: If there are fewer files than processes.
        """
        if len(paths) < self.num_workers:
            msg = (
                f"{len(paths)} record files cannot be shared by {self.num_workers} workers. "
                "Start fewer workers, or split the records into more files."
            )
            raise UsageError(msg, num_files=len(paths), num_workers=self.num_workers)
        return list(paths[self.index :: self.num_workers])


def read_cluster() -> Cluster:
    """Read `TF_CONFIG`; without one, or with one process in it, this process is alone.

    Returns:
        The cluster.

    Raises:
        UsageError: If the variable is not JSON, lacks this process, or has parameter servers.
    """
    text = os.environ.get("TF_CONFIG", "{}")
    try:
        config: dict[str, Any] = json.loads(text)
        jobs = {name: list(addresses) for name, addresses in config.get("cluster", {}).items()}
        task = config.get("task", {"type": "chief", "index": 0})
        kind, index = str(task["type"]), int(task["index"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"TF_CONFIG is not a cluster description: {error}. It reads: {text[:200]}"
        raise UsageError(msg, tf_config=text) from error
    if not jobs:
        return Cluster()
    if "ps" in jobs or kind == "ps":
        msg = (
            "TF_CONFIG lists parameter servers; here all workers hold all weights. Leave 'ps' out."
        )
        raise UsageError(msg, jobs=sorted(jobs))
    chiefs = [(name, 0) for name in CHIEFS if name in jobs]
    tasks = chiefs + [("worker", i) for i in range(len(jobs.get("worker", [])))]
    if (kind, index) not in tasks:
        listed = ", ".join(f"{name} {number}" for name, number in tasks)
        msg = f"TF_CONFIG says this is {kind} {index}, but its cluster lists {listed or 'nobody'}."
        raise UsageError(msg, task=(kind, index), tasks=tasks)
    addresses = tuple(jobs[name][number] for name, number in tasks)
    return Cluster(addresses, tasks.index((kind, index)))
