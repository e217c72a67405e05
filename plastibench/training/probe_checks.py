"""What a probe has returned, checked, and that it has left the data of the run as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from plastibench.data.described import described, named
from plastibench.errors import RequestError
from plastibench.plugins.probe import PER_LAYER, Probe
from plastibench.plugins.task import Stage


def checked_values(name: str, probe: Probe, values: Any) -> dict[str, float]:  # noqa: ANN401 - of any probe
    """Return the measurements as numbers. Raises RequestError if they are not what the probe declares."""
    who = f"probe {name} ({named(type(probe))})"
    if not isinstance(values, Mapping):
        raise RequestError(
            f"{who} returns {described(values)}: measure must return a mapping with a number for each of "
            f"{', '.join(sorted(probe.units))}"
        )
    _check_names(who, probe, values)
    return {measurement: _number(who, measurement, value) for measurement, value in values.items()}


@contextmanager
def data_unchanged(name: str, probe: Probe, stage: Stage) -> Iterator[None]:
    """Raise RequestError if tensors of a stage's data are written to in the context.

    By their versions, which torch counts without waiting for the device; a write through `.data` or NumPy
    has none, and a law finds it.
    """
    before = _versions(stage)
    yield
    after = _versions(stage)
    changed = [where for where, version in before.items() if after.get(where) != version]
    if changed:
        raise RequestError(
            f"probe {name} ({named(type(probe))}) writes to stage.{changed[0]}, the data of the run: measure "
            "on a copy, as in x = x.clone()"
        )


def _versions(stage: Stage) -> dict[str, tuple[int, int]]:
    parts = {part: getattr(stage, part) for part in ("train", "validation", "test")}
    return {
        f"{part}.{name}": (id(value), value._version)
        for part, data in parts.items()
        for name, value in getattr(data, "__dict__", {}).items()
        if isinstance(value, Tensor) and not value.is_inference()
    }


def _check_names(who: str, probe: Probe, values: Mapping[Any, Any]) -> None:
    """Raise RequestError if a probe has not returned the measurements that it declares."""
    per_layer = {key.removesuffix(PER_LAYER) for key in probe.units if key.endswith(PER_LAYER)}
    names = {key if isinstance(key, str) else repr(key) for key in values}
    found = {key for key in names if not (key.endswith("]") and key.partition("[")[0] in per_layer)}
    if found != {key for key in probe.units if not key.endswith(PER_LAYER)}:
        raise RequestError(
            f"{who} returns {', '.join(sorted(names)) or 'nothing'}, but declares "
            f"{', '.join(sorted(probe.units))}"
        )


def _number(who: str, measurement: str, value: Any) -> float:  # noqa: ANN401 - whatever a probe returns
    try:
        if isinstance(value, str | bytes):  # which may be read as a number, and is none
            raise TypeError
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RequestError(
            f"{who} returns {measurement}={described(value)}: each measurement must be a number, NaN if "
            "there is none"
        ) from error
