"""Warm start with a fresh optimizer: distinguishes stale momentum from stale weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from plastibench.api import Method


@dataclass(kw_only=True)
class WarmResetMomentum(Method):
    """Keep the weights, reset the optimizer state (Warm ReM in arXiv 2410.23495, appendix C).

    Cost: nothing.
    """

    optimizer_state: Literal["clear"] = "clear"
