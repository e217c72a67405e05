"""Ray for tests: one small instance, or several nodes on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from plastibench.store.record import Record
from plastibench.store.run_store import Store

SMALL: dict[str, Any] = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
PATIENCE = 600
"""Seconds: every node and every command is a handful of processes, which a busy machine starts slowly."""
NODE = "PLASTIBENCH_TEST_NODE"
"""The variable with the name of a node."""


@contextmanager
def temporary_folder() -> Iterator[str]:
    """Yield a folder with a short name, as sockets need it."""
    folder = tempfile.mkdtemp(prefix="pbray-", dir="/tmp")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def ray_here(num_cpus: int) -> Iterator[str]:
    """Start Ray, and connect this process with it; yield its address."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    import ray

    with temporary_folder() as folder:
        ray.init(address="local", num_cpus=num_cpus, _temp_dir=folder, log_to_driver=False, **SMALL)
        try:
            yield ray.get_runtime_context().gcs_address
        finally:
            ray.shutdown()


class Nodes:
    """A cluster whose head executes nothing."""

    def __init__(self, folder: str) -> None:
        os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(True, head_node_args={"num_cpus": 0, "temp_dir": folder, **SMALL})
        self._nodes: dict[str, Any] = {}
        self.address = str(self._cluster.address)

    def add(self, name: str, **environment: str) -> None:
        """Add a node with one core, whose processes have a name and other variables."""
        self._nodes[name] = self._cluster.add_node(
            num_cpus=1,
            object_store_memory=SMALL["object_store_memory"],
            env_vars={NODE: name, **environment},
        )

    def kill(self, name: str) -> None:
        """Kill a node as if its machine were gone."""
        self._cluster.remove_node(self._nodes.pop(name), allow_graceful=False)

    def shut_down(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()


@contextmanager
def ray_nodes(*names: str) -> Iterator[Nodes]:
    """Start a cluster with nodes of these names."""
    with temporary_folder() as folder:
        nodes = Nodes(folder)
        try:
            for name in names:
                nodes.add(name)
            yield nodes
        finally:
            nodes.shut_down()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(process.communicate()[1])
        time.sleep(0.1)


def num_stages(home: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in home.glob("runs/*/*/stages.jsonl"))


def the_record(home: Path) -> Record:
    (record,) = Store(home).records()
    return record


def numbers(record: Record) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in row.items() if "seconds" not in k and "energy" not in k} for row in record.stages
    ]
