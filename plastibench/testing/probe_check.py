"""The laws for a probe, which measures a run without a remedy."""

from collections.abc import Callable, Iterator
from functools import partial

from plastibench.errors import RequestError
from plastibench.plugins.method import Method
from plastibench.plugins.plugin import Plugin
from plastibench.plugins.probe import Probe
from plastibench.plugins.task import Task
from plastibench.testing import laws, probe_laws
from plastibench.testing.law_suite import LawResult, result_of
from plastibench.testing.law_tasks import LawTasks


class ProbeCheck:
    """The laws for one probe."""

    def __init__(self, plugin: Plugin, tasks: LawTasks) -> None:
        self.probe: Probe = plugin.load()()
        self.name = plugin.name
        self.task = self._supported(tasks)

    def results(self) -> Iterator[LawResult]:
        """Yield the result of each law."""
        task, probes = self.task, {self.name: self.probe}
        checks: dict[str, Callable[[], object]] = {
            "a measurement leaves weights, buffers, optimizer, random streams and data as they are": partial(
                probe_laws.measuring_changes_nothing, task, probes
            ),
            "it measures what it declares, and the run has the bits of one without it": partial(
                laws.probes_change_nothing, task, Method, probes
            ),
            "the seed determines what it measures": partial(
                probe_laws.measurements_are_repeatable, task, probes
            ),
            "stopped after any step and resumed, it measures the same": partial(
                probe_laws.measurements_survive_interruption, task, probes
            ),
        }
        for name, check in checks.items():
            yield result_of(name, check)

    def _supported(self, tasks: LawTasks) -> Task:
        """Return the task with the first model that the probe supports. Raises RequestError if none is."""
        refused = {}
        for model in tasks.models:
            task = tasks.task(model)
            refused[model] = self.probe.unsupported(task)
            if refused[model] is None:
                return task
        raise RequestError(f"{type(self.probe).__name__} supports no model of the laws: {refused}")
