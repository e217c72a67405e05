"""With what runs are executed: the device, how many side by side, and how many threads each has."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from plastibench.devices import Device, device_class, get_device, host_device
from plastibench.errors import RequestError, count
from plastibench.experiments.spec import Spec
from plastibench.profiling.estimate import samples_of_records
from plastibench.runner.context import RunContext
from plastibench.runner.slots import device_slots, fitting_processes
from plastibench.runner.worker import keep_torch_settings
from plastibench.runner.workspace import Workspace
from plastibench.store.checkpoint_storage import check_storage
from plastibench.system.processes import check_can_start
from plastibench.workflows.devices import check_devices, num_devices_of_a_run
from plastibench.workflows.request import RunOptions

logger = logging.getLogger(__name__)

GIB = 2**30


def open_device(name: str, specs: Sequence[Spec], options: RunOptions) -> Device:
    """Return the device that this process uses: that of the runs, or the host's if others execute them.

    Raises RequestError at once for what every run would fail with.
    """
    device = host_device() if options.choice.is_remote else get_device(name)
    for precision in dict.fromkeys(spec.recipe["precision"] for spec in specs):
        device_class(name).check_precision(precision)
    with keep_torch_settings():  # each run sets the algorithms itself
        if options.deterministic and not options.choice.is_remote:
            device.use_deterministic_algorithms()
        if options.compile:
            device.use_compiler()
    return device


def remote_context(workspace: Workspace, options: RunOptions, device_name: str) -> RunContext:
    """Return the context of runs that are executed on other machines. Raises RequestError."""
    if options.devices > 1:
        raise RequestError(
            f"--devices {options.devices} is not allowed with --executor {options.executor}: they are those "
            "of this machine"
        )
    return _context(workspace, options, device_name, 1)


def run_context(
    workspace: Workspace, options: RunOptions, device: Device, specs: Sequence[Spec]
) -> RunContext:
    """Return the context in which the runs that are to do are executed. Raises RequestError."""
    num_devices = num_devices_of_a_run(options.devices)
    if num_devices > 1:
        check_devices(device, num_devices, options, specs, workspace.registry)
    jobs = 1 if num_devices > 1 else options.jobs or device.default_num_processes()
    num_processes = max(1, min(jobs, len(specs)))
    if num_processes > 1:
        check_can_start(f"jobs={num_processes}")
    if options.devices > 1:
        check_can_start(f"devices={options.devices}")
    context = replace(_context(workspace, options, str(device), num_processes), devices=num_devices)
    context = fitted_to_memory(device, context, specs)
    most = device.num_threads(context.num_processes * context.devices)
    if options.threads is not None or most == 1 or not specs:
        return context
    return replace(context, threads=_measured_threads(specs, context, most))


def device_of_parent(device: Device, num_processes: int) -> Device:
    """Return the device that this process may use while so many others execute the runs.

    Where a device belongs to one process, it is theirs.
    """
    return device if num_processes == 1 or device.is_shareable else host_device()


def _context(workspace: Workspace, options: RunOptions, device: str, num_processes: int) -> RunContext:
    storage = options.checkpoint_storage
    return RunContext(
        workspace,
        device,
        threads=options.threads or 1,
        num_processes=num_processes,
        checkpoint_interval=options.checkpoint_interval,
        deterministic=options.deterministic,
        compile=options.compile,
        run_timeout=options.run_timeout,
        checkpoint_storage=None if storage is None else check_storage(storage),
    )


def _measured_threads(specs: Sequence[Spec], context: RunContext, most: int) -> int:
    """Return the number of threads that is fastest for the model whose steps take longest."""
    from plastibench.profiling.threads import choose_threads

    choices = choose_threads(specs, context, most)
    if not choices:
        return 1
    name, choice = max(choices.items(), key=lambda named: named[1].seconds[1])
    times = ", ".join(
        f"{1000 * each:.3g} ms with {number}" for number, each in sorted(choice.seconds.items())
    )
    model = next(spec.model.name for spec in specs if spec.condition_id == name)
    logger.info("%s for a run: a step of %s takes %s", count(choice.threads, "thread"), model, times)
    return choice.threads


def fitted_to_memory(device: Device, context: RunContext, specs: Sequence[Spec]) -> RunContext:
    """Return a context with as many processes as fit into memory, by what earlier runs took of it."""
    wanted, total = context.num_processes, device.total_memory()
    if wanted == 1 or total is None:
        return context
    samples = samples_of_records(specs, context)
    peaks = [time.memory for times in samples.values() for time in times if time.memory is not None]
    fitting = fitting_processes(device, max(peaks, default=None))
    if fitting is not None and fitting < wanted:
        logger.warning(
            "%s at a time instead of %d: earlier runs took up to %.1f of %.1f GiB of %s",
            *(count(fitting, "run"), wanted, max(peaks) / GIB, total / GIB, device.name()),
        )
        wanted = fitting
    advice = device.sharing_advice()
    if advice is not None and any(slot.num_processes > 1 for slot in device_slots(device, wanted)):
        logger.info("%s", advice)
    return replace(context, num_processes=wanted)
