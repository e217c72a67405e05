"""The laws for one method, with the line of its file that breaks one."""

from __future__ import annotations

import logging
import sys
import traceback
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from torch import Tensor

from plastibench.errors import RequestError, explain, one_line
from plastibench.plugins.method import Method
from plastibench.plugins.plugin import Plugin
from plastibench.plugins.task import Task
from plastibench.testing.hook_watch import HookCall, Observation, watched
from plastibench.testing.law_suite import CAPTURED, LAWS, SAME_SEED, Law, LawResult
from plastibench.testing.law_tasks import LawTasks
from plastibench.testing.run_trace import MakeMethod, trace_run
from plastibench.testing.variants import variants

logger = logging.getLogger(__name__)

IN_STEPS = ("loss_term", "after_step")
PLAIN = (bool, int, float, str, list, dict, set, tuple, deque, Counter, Tensor, type(None))


class MethodCheck:
    """The laws for one method."""

    def __init__(self, plugin: Plugin, tasks: LawTasks) -> None:
        self.cls: type[Method] = plugin.load()
        self.before = _variables(self.cls)
        self.tasks = tasks
        source = plugin.own_source()
        self.files = {str(plugin.path)} if source is None else {str(path) for path in source.paths}
        self.makers: Mapping[str, MakeMethod] = variants(self.cls)
        """The makers by the name of their settings; what acts within a few steps comes first."""
        if "active" in self.makers:
            self.makers = {"active": self.makers["active"], **self.makers}

    @cached_property
    def acting(self) -> MakeMethod:
        """Return the maker with the settings at which the method acts."""
        return next(iter(self.makers.values()))

    @cached_property
    def model(self) -> str:
        """Return the first model that the method supports. Raises RequestError if it supports none."""
        refused = {}
        for model in self.tasks.models:
            refused[model] = self._refusal(model)
            if refused[model] is None:
                return model
        raise RequestError(f"{self.cls.__name__} supports no model of the laws: {refused}")

    def results(self) -> Iterator[LawResult]:
        """Yield the result of each law."""
        yield from (
            self._reaches_weights(),
            self._draws_its_own(),
            self._keeps_to_itself(),
            self._never_waits(),
        )
        for law in LAWS:
            yield self._try(law, self.tasks.task(self.model))
        yield self._try(CAPTURED, self.tasks.captured(self.model))
        for model in self.tasks.models:
            if model != self.model:
                yield self._on_model(model)

    def _try(self, law: Law, task: Task) -> LawResult:
        """Try a law at each of its settings."""
        excuse = law.excuse(self.cls)
        if law.repeats and self.repetition is not None:
            excuse = "repeating a run with the same seed does not give its bits again: mend that first"
        if excuse is not None:
            return LawResult(law.name, "not applicable", excuse)
        makers = self.makers if law.every_setting else {next(iter(self.makers)): self.acting}
        for name, make in makers.items():
            problem = self._problem(law, task, make)
            if problem is not None:
                where = "" if name in ("defaults", "active") else f"with {name}: "
                return LawResult(law.name, "failed", where + problem)
        return LawResult(law.name, "passed", f"with {', '.join(makers)}" if len(makers) > 1 else "")

    def _problem(self, law: Law, task: Task, make: MakeMethod) -> str | None:
        return self.repetition if law is SAME_SEED else self._tried(law, task, make)

    def _tried(self, law: Law, task: Task, make: MakeMethod) -> str | None:
        try:
            law.check(task, make)
        except AssertionError as error:
            cause = self._cause(law)
            return one_line(str(error)) + (f"; likely cause: {cause}" if cause else "")
        except Exception as error:  # whatever the plug-in raises
            return self._raised(error)
        return None

    def _raised(self, error: Exception) -> str:
        """Return what a hook has raised, and the line of the plug-in."""
        lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in self.files]
        where = f" ({Path(lines[-1].filename).name}, line {lines[-1].lineno})" if lines else ""
        text = explain(error)
        return text if where in text else text + where

    @cached_property
    def repetition(self) -> str | None:
        """Return why a run does not give the same bits again; None if it does."""
        return self._tried(SAME_SEED, self.tasks.task(self.model), self.acting)

    @cached_property
    def calls(self) -> list[HookCall]:
        """Return what each call of a hook does in a run; what ends the run is another law's to say."""
        with watched(self.acting()) as (spy, calls):
            try:
                trace_run(self.tasks.task(self.model), spy)
            except Exception as error:  # whatever the plug-in raises
                logger.debug("the watched run ended with %s", error)
        return calls

    def _seen(self, act: str) -> list[Observation]:
        """Return the lines of the plug-in that do something."""
        found = {one for call in self.calls for one in call.observations if one.act == act}
        return sorted((one for one in found if one.file in self.files), key=lambda one: one.line)

    def _cause(self, law: Law) -> str:
        """Return why a law is likely to be broken, with the line that may be to blame."""
        found = self._seen(law.act) if law.act else []
        return f"{law.cause} ({_place(found[0])})" if found else law.cause

    def _reaches_weights(self) -> LawResult:
        name, lost = "what it writes reaches a tensor that is kept", self._seen("writes into a copy")
        if not lost:
            return LawResult(name, "passed")
        return LawResult(
            name,
            "failed",
            f"{lost[0].hook} changes a copy: {_place(lost[0])}; indexing with a tensor copies, so assign "
            "instead, as in weight[mask] = 0",
        )

    def _draws_its_own(self) -> LawResult:
        name = "no hook draws from torch's global generator"
        drawing = [call.hook for call in self.calls if call.draws]
        if not drawing:
            return LawResult(name, "passed")
        places = "".join(f" ({_place(one)})" for one in self._seen("draws")[:1])
        return LawResult(name, "failed", f"{drawing[0]} does{places}: draw from learner.generator")

    def _keeps_to_itself(self) -> LawResult:
        """Compare the variables of the module and the class before and after a run."""
        name, _ = "it keeps nothing in its module or class", self.calls
        changed = [name for name, value in _variables(self.cls).items() if self.before.get(name) != value]
        if not changed:
            return LawResult(name, "passed")
        return LawResult(
            name,
            "failed",
            f"{changed[0]} changes in a run: other runs of the process see it, and no checkpoint has it; "
            "keep it in a field(init=False)",
        )

    def _never_waits(self) -> LawResult:
        name, waits = "its steps do not make the host wait for the device", self._seen("waits")
        waits = [one for one in waits if one.hook in IN_STEPS]
        steps = [call for call in self.calls if call.hook in IN_STEPS]
        if not steps:
            return LawResult(name, "not applicable", "it has no hook inside a step")
        if not waits:
            return LawResult(name, "passed")
        waiting = sum(not call.observations.isdisjoint(waits) for call in steps)
        where = f"{waits[0].hook} waits in {waiting} of {len(steps)} steps: {_place(waits[0])}"
        if waiting < len(steps) and not self.cls.can_be_captured():
            return LawResult(name, "passed", f"{where}; its steps run eagerly, so some may")
        return LawResult(name, "failed", f"{where}; keep the number in a tensor, or act on it between stages")

    def _on_model(self, model: str) -> LawResult:
        """Try the laws that see layers on another model."""
        name, refusal = f"it keeps its laws on {model}", self._refusal(model)
        if refusal is not None:
            return LawResult(name, "not applicable", refusal)
        task = self.tasks.task(model, max_epochs=1)
        for law in LAWS:
            skipped = not law.every_setting or (law.repeats and self.repetition is not None)
            problem = None if skipped else self._problem(law, task, self.acting)
            if problem is not None:
                return LawResult(name, "failed", f"{law.name}: {problem}")
        return LawResult(name, "passed")

    def _refusal(self, model: str) -> str | None:
        try:
            return self.acting().unsupported(self.tasks.task(model))
        except RequestError as error:
            return str(error)


def _variables(cls: type[Method]) -> dict[str, str]:
    """Return the plain variables of a class and its module, as text."""
    spaces = {"": vars(sys.modules[cls.__module__]), f"{cls.__name__}.": vars(cls)}
    return {
        f"{where}{name}": repr(value)
        for where, space in spaces.items()
        for name, value in space.items()
        if isinstance(value, PLAIN) and not name.startswith("__")
    }


def _place(observation: Observation) -> str:
    return f"line {observation.line} of {Path(observation.file).name}, `{observation.source}`"
