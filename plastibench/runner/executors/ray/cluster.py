"""The connection with a Ray cluster, and what a run takes of its nodes."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plastibench.devices import device_class
from plastibench.errors import RequestError, count, one_line, require
from plastibench.runner.context import RunContext
from plastibench.system.cpu import num_cores
from plastibench.system.output import logged_output
from plastibench.system.signals import handlers_kept

logger = logging.getLogger(__name__)

LOCAL = "local"
OBJECT_STORE_BYTES = 100 * 2**20
"""Of a Ray instance that is started here: events are all that travels."""
CONNECT_SECONDS = 10.0
REFRESH_SECONDS = 5.0
"""How often the nodes are listed again: a cluster grows and shrinks."""
SMALLEST_SHARE = 0.01
MAX_PORT = 65535
TOKEN_HINT = (
    "if it asks for a token, set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN if ~/.ray/auth_token is not its own"
)
HTTP2_SETTINGS = b"\x04"
"""The type of the frame with which both sides of HTTP/2, and so of gRPC, begin (RFC 9113, section 3.4)."""
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + HTTP2_SETTINGS + 5 * b"\0"
NODE_LABEL = "ray.io/node-id"


@dataclass(frozen=True)
class Demand:
    """What a run takes of a node."""

    cpus: int
    resource: str | None = None
    """Name of the device's resource, such as GPU."""
    share: float = 1.0
    """Part of a device."""

    @classmethod
    def of_run(cls, context: RunContext, share: float | None) -> Demand:
        """Return what a run with this context takes. Raises RequestError for what the device cannot do."""
        device = device_class(context.device)
        if ":" in context.device:
            raise RequestError(
                f"device {context.device!r}: Ray chooses among devices; write {device.device_type}"
            )
        if share is not None and (device.cluster_resource is None or not (device.is_shareable or share == 1)):
            raise RequestError(
                f"--device-share {share:g} is not possible on {device.device_type}: a run takes "
                f"{'its threads' if device.cluster_resource is None else 'a whole one'}; leave it out"
            )
        if share is not None and not SMALLEST_SHARE <= share <= 1:
            raise RequestError(
                f"--device-share {share:g} must be from {SMALLEST_SHARE} to 1: a run uses one device"
            )
        return cls(context.threads or 1, device.cluster_resource, share or 1.0)

    @property
    def runs_per_device(self) -> int:
        """Return how many runs share a device: fractions never add up to more than one."""
        return int(1 / self.share + 1e-9) if self.resource else 1

    def options(self) -> dict[str, Any]:
        """Return it as Ray's options of a task."""
        if self.resource is None:
            return {"num_cpus": self.cpus}
        if self.resource == "GPU":  # Ray has an argument of its own for it
            return {"num_cpus": self.cpus, "num_gpus": self.share}
        return {"num_cpus": self.cpus, "resources": {self.resource: self.share}}

    def slots(self, resources: Mapping[str, float]) -> int:
        """Return how many runs a node with these resources executes at once."""
        by_cores = int(resources.get("CPU", 0) // self.cpus)
        if self.resource is None:
            return by_cores
        return min(by_cores, int(resources.get(self.resource, 0)) * self.runs_per_device)

    def __str__(self) -> str:
        """Return it for people."""
        device = "" if self.resource is None else f" and {self.share:g} {self.resource}"
        return f"{count(self.cpus, 'CPU')}{device}"


class RayCluster:
    """A connection of this process with a cluster."""

    def __init__(self, address: str | None) -> None:
        """Connect with a cluster, or start one of this machine alone. Raises RequestError."""
        require("ray", "--executor ray")
        import ray

        address = address or os.environ.get("RAY_ADDRESS") or LOCAL
        self.is_own = not ray.is_initialized()
        """Whether the connection was made here, and ends here."""
        if self.is_own:
            _connect(address)
        self.address: str = ray.get_runtime_context().gcs_address
        if not self.is_own and address not in (LOCAL, "auto", self.address):
            raise RequestError(
                f"this process uses the Ray cluster at {self.address} already, not the one at {address}: "
                "call ray.shutdown() before, or leave the address out"
            )
        self._listed, self._nodes = 0.0, list[Mapping[str, Any]]()

    def nodes(self) -> dict[str, Mapping[str, float]]:
        """Return the resources of the living nodes, by id."""
        return {node["NodeID"]: node["Resources"] for node in self._list() if node["Alive"]}

    def dead_nodes(self) -> set[str]:
        """Return the ids of the nodes that the head has given up."""
        return {node["NodeID"] for node in self._list() if not node["Alive"]}

    def slots(self, demand: Demand, without: set[str] | None = None) -> int:
        """Return how many runs the nodes, but for some of them, execute at once."""
        return sum(
            demand.slots(resources) for node, resources in self.nodes().items() if node not in (without or ())
        )

    def _list(self) -> list[Mapping[str, Any]]:
        import ray

        if time.monotonic() - self._listed > REFRESH_SECONDS:
            self._nodes, self._listed = ray.nodes(), time.monotonic()
        return self._nodes

    def close(self) -> None:
        """End the connection if it was made here."""
        import ray

        if self.is_own:
            ray.shutdown()


def avoiding(nodes: set[str]) -> dict[str, Any]:
    """Return Ray's option of a task that is not to be executed on some nodes."""
    return {"label_selector": {NODE_LABEL: f"!in({','.join(sorted(nodes))})"}} if nodes else {}


def _connect(address: str) -> None:
    import ray

    _check_address(address)
    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
    )  # without it, Ray warns of a change to come
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # the user has not asked for a cluster
        size = {"num_cpus": num_cores(), "object_store_memory": OBJECT_STORE_BYTES}
        options |= {**size, "include_dashboard": False}
    try:
        # SIGTERM would end this program without a word, and a refusal is logged every second.
        with handlers_kept(), logged_output(address != LOCAL and not logger.isEnabledFor(logging.DEBUG)):
            ray.init(**options)
    except Exception as error:  # whatever Ray raises: no such cluster, other versions of Ray or Python
        hint = f"; {TOKEN_HINT}" if isinstance(error, ConnectionError) else ""
        raise RequestError(one_line(f"Ray at {address} cannot be used: {error}{hint}")) from error
    _silence()


def _check_address(address: str) -> None:
    """Raise RequestError for an address that Ray would try for a minute."""
    if "://" in address:
        raise RequestError(
            f"Ray address {address!r} is not that of a cluster: write HOST:PORT, such as 10.0.0.1:6379, and "
            "start plastibench on a node of the cluster (`ray job submit`)"
        )
    if address in (LOCAL, "auto"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= MAX_PORT:
        raise RequestError(
            f"Ray address {address!r} is not HOST:PORT, such as 10.0.0.1:6379; ports end at {MAX_PORT}"
        )
    try:
        with socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS) as connection:
            is_head = os.environ.get("RAY_USE_TLS", "0") != "0" or _speaks_http2(connection)
    except (OSError, UnicodeError) as error:  # no name of a host is longer than 63 letters between two dots
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"no Ray cluster answers at {address}: {reason}") from error
    if not is_head:
        raise RequestError(
            f"what answers at {address} is not the head of a Ray cluster: write the port that `ray start "
            "--head` says, 6379 unless another was chosen (8265 is that of the dashboard)"
        )


def _speaks_http2(connection: socket.socket) -> bool:
    """Return whether a server speaks what Ray's head does: Ray would try any other one for many minutes."""
    connection.sendall(HTTP2_PREFACE)
    return connection.recv(9)[3:4] == HTTP2_SETTINGS


def _silence() -> None:
    """Keep what Ray says of dead workers off this program's output, which names lost runs itself."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None
