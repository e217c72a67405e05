"""The laws for a model, which is trained without a remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from plastibench.errors import RequestError
from plastibench.plugins.method import Method
from plastibench.plugins.plugin import Plugin
from plastibench.testing import laws
from plastibench.testing.law_suite import LawResult, result_of
from plastibench.testing.law_tasks import LawTasks
from plastibench.training.head import find_head
from plastibench.training.hidden_units import hidden_units


class ModelCheck:
    """The laws for one model."""

    def __init__(self, plugin: Plugin, tasks: LawTasks) -> None:
        self.tasks = tasks
        self.task = tasks.task(plugin.name)
        self.captured = tasks.captured(plugin.name)

    def results(self) -> Iterator[LawResult]:
        """Yield the result of each law."""
        task, architecture = self.task, self.task.architecture
        shape = (1, 8, 8)
        checks: dict[str, Callable[[], object]] = {
            "the seed determines the result": partial(laws.same_seed_gives_same_result, task, Method),
            "torch's global generator does not matter": partial(
                laws.global_random_state_is_ignored, task, Method
            ),
            "one more evaluation changes nothing": partial(laws.evaluation_changes_nothing, task, Method),
            "stopped after any step and resumed, it ends with the same bits": partial(
                laws.interruption_changes_nothing, task, Method
            ),
            "the cost that is counted is the real one": partial(
                laws.counted_cost_equals_real_cost, task, Method, num_classes=10
            ),
            "its steps can be captured and replayed": partial(
                laws.captured_steps_equal_eager_steps, self.captured, Method
            ),
            "its head is known": lambda: architecture.head or find_head(task.model(), shape),
            "its hidden units are known": lambda: hidden_units(
                task.model(), shape, architecture.hidden_units
            ),
        }
        for name, check in checks.items():
            yield result_of(name, check)
        yield self._methods()

    def _methods(self) -> LawResult:
        """Name the methods that refuse the model."""
        registry, refused = self.tasks.registry, []
        for name in registry.names("method"):
            try:
                reason = registry.load("method", name)().unsupported(self.task)
            except RequestError as error:
                reason = str(error)
            if reason is not None:
                refused.append(f"{name} ({reason})")
        return LawResult("methods support it", "passed", f"but for {', '.join(refused)}" if refused else "")
