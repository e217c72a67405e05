"""plastibench: which remedy for loss of plasticity works, and what it costs."""

import importlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastibench.version import __version__

if TYPE_CHECKING:
    from plastibench.errors import RequestError
    from plastibench.python_api import check, frame, report, results, resume, run, table, tune
    from plastibench.runner.callbacks import RunCallback
    from plastibench.standalone import Applied, Remedy, apply, remedy
    from plastibench.tuning.callbacks import TuningCallback

if not (Path(__file__).parent / "methods").is_dir():
    # A checkout: methods/ and tasks/ lie beside this package, not inside it as in a wheel.
    __path__.append(str(Path(__file__).parents[1]))

# A library is silent unless its user configures logging.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "Applied",
    "Remedy",
    "RequestError",
    "RunCallback",
    "TuningCallback",
    "__version__",
    "apply",
    "check",
    "frame",
    "remedy",
    "report",
    "results",
    "resume",
    "run",
    "table",
    "tune",
]

_FUNCTIONS = ("check", "frame", "report", "results", "resume", "run", "table", "tune")
_MODULES = {
    **dict.fromkeys(("Applied", "Remedy", "apply", "remedy"), "standalone"),
    "RequestError": "errors",
    "RunCallback": "runner.callbacks",
    "TuningCallback": "tuning.callbacks",
    **dict.fromkeys(_FUNCTIONS, "python_api"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a function or a class
    """Import the Python API on first use: importing it takes time."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
