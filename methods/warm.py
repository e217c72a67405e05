"""Warm start: continue from the old weights. The cheap baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from plastibench.api import Method


@dataclass(kw_only=True)
class Warm(Method):
    """Keep weights, momentum and running statistics (Ash & Adams 2020, arXiv 1910.08475).

    Cost: nothing.
    """

    disabled: ClassVar[dict[str, Any]] = {}
