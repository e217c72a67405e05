"""What a method reports by `learner.log`: named numbers, kept on the device until the stage ends."""

import math
import re
from typing import Any, Literal

import torch
from torch import Tensor

from plastibench.errors import RequestError, did_you_mean

Reduction = Literal["last", "sum", "mean"]
REDUCTIONS: tuple[Reduction, ...] = ("last", "sum", "mean")
NAME = re.compile(r"[a-z][a-z0-9_]*")
PREFIX = "log."
"""Begins the names of these numbers in the row of a stage."""


class StageLog:
    """Numbers by name, each reduced over the stage."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, Any]] = {}

    def add(self, name: str, value: float | Tensor, reduction: Reduction) -> None:
        """Add a number, or a tensor of one element, which is not read. Raises RequestError."""
        _check(name, value, reduction)
        if isinstance(value, Tensor):
            value = value.detach().reshape(())
        entry = self._entries.setdefault(name, {"reduction": reduction, "total": 0.0, "count": 0.0})
        if entry["reduction"] != reduction:
            raise RequestError(
                f"learner.log reduces {name} by {reduction}, but before in this stage by {entry['reduction']}"
            )
        if isinstance(value, Tensor) and not isinstance(entry["total"], Tensor):
            for part in ("total", "count"):  # in memory that a replay updates
                entry[part] = torch.full((), entry[part], device=value.device)
        _accumulate(entry, value)

    def compute(self) -> dict[str, float | None]:
        """Wait for the device and return the numbers; None for one that is not finite."""
        return {PREFIX + name: _reduced(entry) for name, entry in self._entries.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the numbers so far, for a checkpoint."""
        return {name: dict(entry) for name, entry in self._entries.items()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue from numbers that `state_dict` returned."""
        self._entries = {
            name: {
                key: value.to(device) if isinstance(value, Tensor) else value for key, value in entry.items()
            }
            for name, entry in state.items()
        }


def _accumulate(entry: dict[str, Any], value: float | Tensor) -> None:
    total = entry["total"]
    if entry["reduction"] != "last":  # in place if it is a tensor: a replay must find the sum where it was
        total += value
    elif isinstance(total, Tensor):
        total.copy_(value) if isinstance(value, Tensor) else total.fill_(value)
    else:
        total = value
    entry["total"] = total
    entry["count"] += 1.0


def _reduced(entry: dict[str, Any]) -> float | None:
    value = float(entry["total"])
    if entry["reduction"] == "mean":
        value /= float(entry["count"])
    return value if math.isfinite(value) else None


def _check(name: str, value: object, reduction: str) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise RequestError(
            f"learner.log takes no name {name!r}: use small letters, 0 to 9 and underscores, such as "
            "units_recycled"
        )
    if reduction not in REDUCTIONS:
        hint = did_you_mean(reduction, REDUCTIONS)
        raise RequestError(
            f"learner.log has no reduction {reduction!r}: it can be {', '.join(REDUCTIONS)}{hint}"
        )
    if isinstance(value, Tensor) and value.numel() != 1:
        raise RequestError(
            f"learner.log takes one number for {name}, not a tensor of shape {tuple(value.shape)}"
        )
    if not isinstance(value, (Tensor, int, float)):
        raise RequestError(f"learner.log takes a number for {name}, not a {type(value).__name__}")
    if not isinstance(value, Tensor) and not math.isfinite(value):
        raise RequestError(f"learner.log takes a finite number for {name}, not {value}")
