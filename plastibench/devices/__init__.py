"""The devices a run can use, behind one seam. Nothing outside this folder knows which one it is."""

from __future__ import annotations

from plastibench.devices.cpu import Cpu
from plastibench.devices.cuda import Cuda
from plastibench.devices.device import AUTOCAST, Device
from plastibench.devices.hpu import Hpu
from plastibench.errors import RequestError, unknown

__all__ = ["AUTOCAST", "DEVICES", "Cpu", "Cuda", "Device", "Hpu", "get_device"]

DEVICES: dict[str, type[Device]] = {cls.device_type: cls for cls in (Cpu, Cuda, Hpu)}


def get_device(text: str) -> Device:
    """Return the device named `text`, such as "cpu", "cuda" or "cuda:1".

    Raises RequestError for an unknown name and for a device that is not there: never another one
    in its place.
    """
    kind, _, index = text.partition(":")
    if kind not in DEVICES:
        raise unknown("device", text, DEVICES)
    reason = DEVICES[kind].unavailable_reason()
    if reason is not None:
        raise RequestError(f"device {text!r} cannot be used: {reason}")
    if not index:
        return DEVICES[kind]()
    if not index.isdecimal() or int(index) >= DEVICES[kind].device_count():
        raise RequestError(
            f"no device {text!r}: {kind} devices here are numbered 0 to {DEVICES[kind].device_count() - 1}"
        )
    return DEVICES[kind](int(index))
