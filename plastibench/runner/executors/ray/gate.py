"""The first lines of a run on a Ray node, which travel as code: it may have another plastibench, or none.

Nothing but the standard library is imported before the versions are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def execute_on_node(
    errand: bytes, spec: bytes, lock: str, versions: Mapping[str, str]
) -> Iterator[tuple[Any, ...]]:
    """Yield messages on a run: where it is, then why it cannot be executed there, or its events."""
    import platform

    import ray

    here = ray.get_runtime_context()
    node = here.get_node_id()
    yield "node", node, f"node {platform.node()} ({ray.util.get_node_ip_address()}, {node[:8]})"
    reason = difference(versions)
    if reason:
        yield "unfit", True, reason
        return
    from plastibench.runner.executors.ray.node import messages

    yield from messages(errand, spec, lock)


def difference(versions: Mapping[str, str]) -> str:
    """Return which version differs from those of the driver; an empty text if none does."""
    import importlib
    import platform
    from importlib.metadata import PackageNotFoundError, version

    for name, wanted in versions.items():
        try:
            if name == "Python":
                found = ".".join(platform.python_version_tuple()[:2])
            elif name == "plastibench":
                found = importlib.import_module(name).__version__
            else:
                found = version(name)
        except (ImportError, PackageNotFoundError):
            return f"it has no {name}; install version {wanted} there"
        if found.partition("+")[0] != wanted.partition("+")[0]:
            return f"it has {name} {found}, and this machine has {wanted}: install the same version"
    return ""
