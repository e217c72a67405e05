"""All laws of methods as a list, each with when it does not apply: what `plastibench check` runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from plastibench.errors import explain, one_line
from plastibench.plugins.method import Method
from plastibench.plugins.task import Task
from plastibench.testing import laws
from plastibench.testing.hook_watch import Act
from plastibench.testing.run_trace import MakeMethod

Verdict = Literal["passed", "failed", "not applicable"]


@dataclass(frozen=True)
class Law:
    """One law."""

    name: str
    """A sentence that is true if the law holds."""
    check: Callable[[Task, MakeMethod], None]
    """Raises AssertionError, or whatever the method raises."""
    excuse: Callable[[type[Method]], str | None] = lambda cls: None
    """Returns why it does not apply to a class, or None."""
    repeats: bool = False
    """Whether it repeats a run, changed in one way, which shows nothing if unchanged repetitions differ."""
    every_setting: bool = False
    """Whether it is checked at every preset and choice, and not only where the method acts."""
    cause: str = ""
    """The likely cause if it does not hold."""
    act: Act | None = None
    """What a hook does if that is the cause."""


@dataclass(frozen=True)
class LawResult:
    """What came out of one law."""

    law: str
    verdict: Verdict
    detail: str = ""
    """What differs, the likely cause and the line; or why the law does not apply."""


def result_of(law: str, check: Callable[[], object]) -> LawResult:
    """Try a law that needs no settings."""
    try:
        check()
    except AssertionError as error:
        return LawResult(law, "failed", one_line(str(error)))
    except Exception as error:  # whatever the plug-in raises
        return LawResult(law, "failed", explain(error))
    return LawResult(law, "passed")


def _has_no_off(cls: type[Method]) -> str | None:
    return "it declares no settings, `disabled`, that switch it off" if cls.disabled is None else None


def _is_control(cls: type[Method]) -> str | None:
    return "it is a control, which does nothing on purpose" if cls.disabled == {} else None


def _acts_in_stages(cls: type[Method]) -> str | None:
    return None if cls.acts_only_between_stages() else "it acts within stages, the first one included"


def _is_eager(cls: type[Method]) -> str | None:
    return None if cls.can_be_captured() else "it does not declare itself capturable: its steps run eagerly"


def _of_class(law: Callable[[Task, type[Method]], None], task: Task, make: MakeMethod) -> None:
    law(task, type(make()))


SAME_SEED = Law(
    "the seed determines the result",
    laws.same_seed_gives_same_result,
    cause="something outside of the run decides: a generator of Python or NumPy (draw from "
    "learner.generator), the time, the order of a set, or a variable of the module or the class that an "
    "earlier run has changed",
)
LAWS = (
    Law(
        "it is a dataclass whose docstring names its source, and its settings survive JSON",
        lambda task, make: laws.is_well_formed(type(make())),
    ),
    Law(
        "it changes the weights",
        partial(_of_class, laws.active_method_differs_from_warm_start),
        _is_control,
        cause="a threshold is never reached, or what it writes does not reach the weights",
        act="writes into a copy",
    ),
    Law(
        "switched off it equals a run without remedy, bit for bit",
        partial(_of_class, laws.disabled_method_equals_warm_start),
        _has_no_off,
        cause="something happens whatever the settings are",
    ),
    SAME_SEED,
    Law(
        "torch's global generator does not matter",
        laws.global_random_state_is_ignored,
        repeats=True,
        cause="it draws from that generator: draw from learner.generator",
        act="draws",
    ),
    Law(
        "its first stage is that of a run without remedy",
        laws.first_stage_equals_warm_start,
        _acts_in_stages,
    ),
    Law(
        "one more evaluation changes nothing",
        laws.evaluation_changes_nothing,
        repeats=True,
        cause="`evaluated` changes the model, its modes or a random stream",
    ),
    Law(
        "what the test data are does not matter",
        laws.test_data_change_nothing,
        repeats=True,
        every_setting=True,
        cause="it learns or selects by them: use learner.stage.train, or learner.stage.validation",
    ),
    Law(
        "stopped after any step and resumed, it ends with the same bits",
        laws.interruption_changes_nothing,
        repeats=True,
        every_setting=True,
        cause="it keeps something that no checkpoint has: declare it as a field(init=False)",
    ),
    Law(
        "its state is the same after a checkpoint",
        laws.state_survives_checkpointing,
        repeats=True,
        every_setting=True,
        cause="it keeps something that no checkpoint has: declare it as a field(init=False)",
    ),
    Law(
        "the cost that is counted is the real one",
        partial(laws.counted_cost_equals_real_cost, num_classes=10),
        every_setting=True,
        cause="it passes data through a model by itself: use learner.forward or learner.backward, and "
        "`with learner.counting()` for products of its own",
    ),
)
CAPTURED = Law(
    "its steps can be captured and replayed",
    laws.captured_steps_equal_eager_steps,
    _is_eager,
    repeats=True,
    cause="a hook decides in Python, counts in Python, or draws from a generator on the CPU",
    act="waits",
)
"""This law needs a task of its own: epochs of several steps, and a learning rate that varies."""
