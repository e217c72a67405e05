"""What this machine has: versions, devices, data sets, disk."""

import importlib.metadata
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path

from plastibench.errors import count
from plastibench.runner.workspace import Workspace
from plastibench.system.cpu import max_threads, wait_policy
from plastibench.system.files import free_bytes, is_left_behind
from plastibench.version import __version__

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "pandas", "scikit-learn", "optuna", "mlflow")
GIB = 1024**3


def examine(device: str, workspace: Workspace) -> dict[str, str]:
    """Return what is installed and available, by name. Raises RequestError if the device is not there."""
    return {
        "plastibench": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        **{package: _version(package) for package in PACKAGES},
        **dict(_devices(device)),
        "threads": _threads(),
        "data": f"{workspace.data} ({_contents(workspace.data)})",
        "home": _home(workspace.home.resolve()),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _threads() -> str:
    """Return how many threads runs may have, and how those wait that wait for others."""
    policy = wait_policy() or "no wait policy: waiting threads spin"
    return f"at most {max_threads()} for all runs, {policy}"


def _devices(name: str) -> Iterator[tuple[str, str]]:
    from plastibench.devices import DEVICES, get_device
    from plastibench.devices.compile import available_backend

    for kind, cls in DEVICES.items():
        reason = cls.unavailable_reason()
        yield kind, reason or f"{cls().name()}, precisions {', '.join(cls().supported_precisions())}"
    device = get_device(name)
    yield "chosen", f"{device}, {count(device.default_num_processes(), 'run')} at a time"
    advice = device.sharing_advice()
    if advice is not None:
        yield "sharing", advice
    compiler = device.compile_backend()
    if compiler is not None:
        yield "compiler", f"{compiler}, {'' if available_backend(device) else 'not '}registered in torch"


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
