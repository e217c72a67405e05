"""plastibench: which remedy for loss of plasticity works, and what it costs."""

import logging
from pathlib import Path

from plastibench.version import __version__

if not (Path(__file__).parent / "methods").is_dir():
    # A checkout: methods/ and tasks/ lie beside this package, not inside it as in a wheel.
    __path__.append(str(Path(__file__).parents[1]))

# A library is silent unless its user configures logging.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = ["__version__"]
