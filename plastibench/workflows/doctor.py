"""What this machine has: versions, devices, data sets, disk."""

import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from plastibench.errors import RequestError, count
from plastibench.runner.workspace import Workspace
from plastibench.system.cpu import max_threads, wait_policy
from plastibench.system.files import free_bytes, is_left_behind
from plastibench.system.packages import installed_version
from plastibench.version import __version__

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "pandas", "scikit-learn", "optuna", "mlflow")
GIB = 1024**3


@dataclass(frozen=True)
class Examination:
    """What this machine has."""

    facts: dict[str, str]
    """By name."""
    problem: RequestError | None
    """Why the device that was asked for cannot be used, or None."""


def examine(device: str, workspace: Workspace) -> Examination:
    """Return what is installed and available; an accelerator that is named takes steps beside the CPU.

    Raises RequestError for a device that nobody knows.
    """
    from plastibench.devices import DEVICES

    kind, problem = device.partition(":")[0], None
    found = {
        "plastibench": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        **{package: installed_version(package) or "not installed" for package in PACKAGES},
        **dict(_devices()),
    }
    try:
        found |= dict(_chosen(device))
    except RequestError as error:
        if kind not in DEVICES:
            raise
        problem = error
        found |= {"chosen": f"none: {error}", "not measured": _not_measured()}
    found |= {
        "threads": _threads(),
        "data": f"{workspace.data} ({_contents(workspace.data)})",
        "home": _home(workspace.home.resolve()),
    }
    return Examination(found, problem)


def _threads() -> str:
    """Return how many threads runs may have, and how those wait that wait for others."""
    policy = wait_policy() or "no wait policy: waiting threads spin"
    return f"at most {max_threads()} for all runs, {policy}"


def _devices() -> Iterator[tuple[str, str]]:
    from plastibench.devices import DEVICES

    for kind, cls in DEVICES.items():
        reason = cls.unavailable_reason()
        yield kind, reason or f"{cls().name()}, precisions {', '.join(cls().supported_precisions())}"


def _chosen(name: str) -> Iterator[tuple[str, str]]:
    """Describe the device that was asked for, and compare an accelerator with the CPU."""
    from plastibench.devices import get_device
    from plastibench.devices.accelerator import Accelerator
    from plastibench.devices.compile import available_backend

    device = get_device(name)
    yield "chosen", f"{device}, {count(device.default_num_processes(), 'run')} at a time"
    advice = device.sharing_advice()
    if advice is not None:
        yield "sharing", advice
    compiler = device.compile_backend()
    if compiler is not None:
        yield "compiler", f"{compiler}, {'' if available_backend(device) else 'not '}registered in torch"
    yield from device.facts().items()
    if isinstance(device, Accelerator):
        from plastibench.profiling.device_check import check_device

        yield from check_device(device).items()


def _not_measured() -> str:
    """Return what a machine with the device shows."""
    from plastibench.profiling.device_check import SHOWN

    measured = "; ".join(f"{name} {meaning}" for name, meaning in SHOWN.items())
    return f"{measured}; the vendor's versions and mode, and operators that fall back to the CPU"


def _contents(folder: Path) -> str:
    if not folder.is_dir():
        return "missing: data sets are downloaded to it when they are needed"
    names = sorted(entry.name for entry in folder.iterdir() if not is_left_behind(entry.name))
    return "holds " + ", ".join(names[:12]) + (", ..." if len(names) > 12 else "") if names else "empty"


def _home(home: Path) -> str:
    return f"{home} ({_writability(home)}, {free_bytes(home) / GIB:.1f} GiB free)"


def _writability(home: Path) -> str:
    """Try to write to the folder, or to where it would be made, and leave no trace."""
    folder = next(path for path in (home, *home.parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".writable-"):
            return "can be written"
    except OSError as error:
        return f"cannot be written: {error.strerror}"
