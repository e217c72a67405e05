"""What this machine has, for a person who wonders why something does not work."""

from __future__ import annotations

import importlib.metadata
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path

from plastibench.system.files import free_bytes
from plastibench.version import __version__

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "pandas", "scikit-learn", "optuna", "mlflow")
GIB = 1024**3


def report(device: str, data: Path, home: Path) -> Iterator[tuple[str, str]]:
    """Yield (what, answer). Raises RequestError where the device asked for is not there."""
    from plastibench.devices import DEVICES, get_device
    from plastibench.devices.compile import is_registered

    yield "plastibench", __version__
    yield "python", f"{platform.python_version()} on {platform.platform()}"
    for package in PACKAGES:
        yield package, _version(package)
    for kind, made in DEVICES.items():
        yield (
            kind,
            made.unavailable_reason()
            or f"{made().name()}, precisions {', '.join(made.supported_precisions())}",
        )
    chosen = get_device(device)
    yield "chosen", f"{chosen}, {chosen.default_num_processes()} runs at a time"
    compiler = chosen.compile_backend()
    if compiler is not None:
        yield "compiler", f"{compiler}, which torch {'has' if is_registered(compiler) else 'does not have'}"
    yield "data", f"{data} ({_contents(data)})"
    yield "home", f"{home.resolve()} ({_writable(home)}, {free_bytes(home.resolve()) / GIB:.1f} GiB free)"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _contents(folder: Path) -> str:
    if not folder.is_dir():
        return "not there: data sets are downloaded to it when they are needed"
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    return "holds " + ", ".join(names[:12]) + (", ..." if len(names) > 12 else "") if names else "empty"


def _writable(home: Path) -> str:
    """Try it where the folder is, or would be made, and leave no trace."""
    place = home.resolve()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".writable-"):
            return "can be written"
    except OSError as error:
        return f"cannot be written: {error.strerror}"
