"""The devices that runs can use; nothing outside this package depends on which one it is."""

from plastibench.devices.cpu import Cpu
from plastibench.devices.cuda import Cuda
from plastibench.devices.device import AUTOCAST, Device
from plastibench.devices.hpu import Hpu
from plastibench.errors import RequestError, did_you_mean

__all__ = [
    "AUTOCAST",
    "DEVICES",
    "Cpu",
    "Cuda",
    "Device",
    "Hpu",
    "collective_backends",
    "device_class",
    "get_device",
    "host_device",
]

DEVICES: dict[str, type[Device]] = {cls.device_type: cls for cls in (Cpu, Cuda, Hpu)}


def collective_backends(rank: int | None = None, size: int = 1) -> str:
    """Load the backends of torch.distributed for the devices here; return them, as cpu:gloo,cuda:nccl.

    For a process that this program has started, `rank` says which of `size` it is. Raises RequestError if a
    backend is not installed.
    """
    present = [cls for cls in DEVICES.values() if cls.unavailable_reason() is None]
    for cls in present:
        cls.load_collectives(rank, size)
    return ",".join(f"{cls.device_type}:{cls.collectives}" for cls in present)


def get_device(text: str) -> Device:
    """Return the device named `text`, such as "cpu", "cuda" or "cuda:1".

    Raises RequestError for an unknown or missing device: it is never replaced by another one.
    """
    cls = device_class(text)
    device_type, _, index = text.partition(":")
    reason = cls.unavailable_reason()
    if reason is not None:
        raise RequestError(f"device {text!r} cannot be used: {reason}")
    if not index:
        return cls()
    if not index.isdecimal() or int(index) >= cls.device_count():
        last = cls.device_count() - 1
        raise RequestError(f"no device {text!r}: {device_type} devices here are numbered 0 to {last}")
    return cls(int(index))


def device_class(text: str) -> type[Device]:
    """Return the class of the device named `text`, which need not be here. Raises RequestError."""
    device_type = text.partition(":")[0]
    if device_type not in DEVICES:
        hint = "; did you mean 'cuda'?" if device_type == "gpu" else did_you_mean(text, DEVICES)
        raise RequestError(f"no device named {text!r}{hint} (there are: {', '.join(sorted(DEVICES))})")
    return DEVICES[device_type]


def host_device() -> Device:
    """Return the device that every machine has."""
    return Cpu()
