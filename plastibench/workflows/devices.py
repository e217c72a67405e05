"""Whether runs can be trained on several devices together."""

from collections.abc import Sequence

from plastibench.devices import Device
from plastibench.distributed.launch import Launch, launched
from plastibench.distributed.ranks import MIN_EXAMPLES
from plastibench.distributed.watch import rank_timeout
from plastibench.errors import RequestError
from plastibench.experiments.spec import Spec, build
from plastibench.plugins.registry import Registry
from plastibench.workflows.request import RunOptions


def num_devices_of_a_run(asked: int) -> int:
    """Return on how many devices each run is trained: as many as torchrun has started processes, or `asked`.

    Raises RequestError for both, and in a process that does not take part in what torchrun has started.
    """
    launch = Launch.from_environment()
    if launch is None:
        return asked
    if launched() is None:
        raise RequestError(
            f"this is one of {launch.size} processes of torchrun, which only the commands run and resume use "
            "together: in Python, give devices=N without torchrun"
        )
    if asked > 1:
        raise RequestError(f"--devices {asked} is not allowed: torchrun has started {launch.size} processes")
    return launch.size


def check_devices(
    device: Device, num_devices: int, options: RunOptions, specs: Sequence[Spec], registry: Registry
) -> None:
    """Raise RequestError if runs cannot be trained on so many devices together."""
    launch = Launch.from_environment()
    device.names_of_ranks(num_devices if launch is None else launch.local_size)
    if options.jobs is not None and options.jobs > 1:
        raise RequestError(
            f"--jobs {options.jobs} is not allowed with {num_devices} devices for each run: they take runs "
            "one by one"
        )
    if options.compile:
        raise RequestError(
            f"--compile is not allowed with {num_devices} devices for each run: only whole batches are "
            "compiled, and each device takes a part"
        )
    rank_timeout()
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
