"""Whether runs can be trained on several devices together."""

from collections.abc import Sequence

from plastibench.devices import Device
from plastibench.distributed.ranks import MIN_EXAMPLES
from plastibench.errors import RequestError
from plastibench.experiments.spec import Spec, build
from plastibench.plugins.registry import Registry


def check_devices(
    device: Device, num_devices: int, jobs: int | None, specs: Sequence[Spec], registry: Registry
) -> None:
    """Raise RequestError if runs cannot be trained on so many devices together."""
    device.names_of_ranks(num_devices)
    if jobs is not None and jobs > 1:
        raise RequestError(
            f"--jobs {jobs} is not allowed with {num_devices} devices for each run: they take runs one by one"
        )
    for spec in {(spec.condition_id, spec.variant_id): spec for spec in specs}.values():
        least, size = MIN_EXAMPLES * num_devices, spec.recipe["batch_size"]
        if size < least:
            raise RequestError(
                f"batch_size={size} is too small for {num_devices} devices, each of which takes at least "
                f"{MIN_EXAMPLES} examples: it must be {least} or more"
            )
        _check_plugins(spec, registry)


def _check_plugins(spec: Spec, registry: Registry) -> None:
    """Raise RequestError if a plug-in of a run declares that it needs one device."""
    task, method = build(spec, registry)
    for plugin in (method, task, task.architecture, getattr(task, "regime", None)):
        reason = getattr(plugin, "needs_one_device", None)
        if reason is not None:
            name = type(plugin).__name__
            raise RequestError(f"{name} cannot be trained on several devices together: {reason}")
