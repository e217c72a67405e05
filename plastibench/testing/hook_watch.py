"""What the hooks of a method do that results do not show by themselves, with the line that does it.

Watched are reading a result on the host, drawing without a generator, and writing into a copy that nothing
keeps, such as `w[mask].zero_()` with a boolean mask. What a hook lets plastibench do is left out.
"""

import ast
import copy
import linecache
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from plastibench.plugins.method import ACTING, Method
from plastibench.testing.cpu_graphs import SYNCHRONIZING

Act = Literal["waits", "draws", "writes into a copy"]
CORE, SHIPPED = "plastibench", "plastibench.methods."
INDEX = torch.ops.aten.index.Tensor
COPIES = (INDEX, torch.ops.aten.masked_select.default)
"""Operations whose result is a copy, although they are written as if it were a part."""


@dataclass(frozen=True)
class Observation:
    """Something that a hook has done."""

    hook: str
    act: Act
    file: str
    line: int

    @property
    def source(self) -> str:
        """Return the line of code."""
        return linecache.getline(self.file, self.line).strip()


@dataclass(frozen=True)
class HookCall:
    """What one call of a hook has done."""

    hook: str
    observations: frozenset[Observation]
    draws: bool
    """Whether it has left torch's global generator in another state."""


class _Watch(TorchDispatchMode):
    """Notes what one call of a hook does."""

    def __init__(self, hook: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.hook = hook
        self.observations: set[Observation] = set()
        self._copies: list[Tensor] = []  # kept, so that no other tensor gets their identity

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - an operation of torch
        types: Any,  # noqa: ANN401 - as torch calls it
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - what the operation returns
        kwargs = kwargs or {}
        is_mask = func is INDEX and any(_is_mask(leaf) for leaf in tree_leaves(args[1]))
        if is_mask or any(tag in func.tags for tag in SYNCHRONIZING):
            self._note("waits")
        if torch.Tag.nondeterministic_seeded in func.tags and kwargs.get("generator") is None:
            self._note("draws")
        if func._schema.is_mutable and args and any(args[0] is one for one in self._copies):
            self._note("writes into a copy")
        result = func(*args, **kwargs)
        if func in COPIES:
            self._copies.append(result)
        return result

    def _note(self, act: Act) -> None:
        found = _caller()
        if found is not None and (act != "writes into a copy" or _discards(*found)):
            self.observations.add(Observation(self.hook, act, *found))


@contextmanager
def watched(method: Method) -> Iterator[tuple[Method, list[HookCall]]]:
    """Yield a copy of a method whose hooks are watched, and what each call has done."""
    calls: list[HookCall] = []
    cls = type(method)

    def watch(hook: str) -> Any:  # noqa: ANN401 - a hook
        original = getattr(cls, hook)

        def call(self: Method, *arguments: object) -> object:
            before = torch.get_rng_state()
            with _Watch(hook) as watch:
                result = original(self, *arguments)
            draws = not torch.equal(before, torch.get_rng_state())
            calls.append(HookCall(hook, frozenset(watch.observations), draws))
            return result

        return call

    hooks = [hook for hook in ACTING if getattr(cls, hook) is not getattr(Method, hook) and hook != "build"]
    spy = copy.copy(method)
    spy.__class__ = type(cls.__name__, (cls,), {hook: watch(hook) for hook in hooks})
    yield spy, calls


def _is_mask(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.bool


def _caller() -> tuple[str, int] | None:
    """Return the line of the plug-in that calls torch, or None if plastibench does."""
    frame = sys._getframe(2)
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        package = module.partition(".")[0]
        if package != "torch" and module != __name__:
            is_core = package == CORE and not module.startswith(SHIPPED)
            return None if is_core else (frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def _discards(file: str, line: int) -> bool:
    """Return whether a line changes an indexed tensor without a name: `w[i].zero_()`, `zeros_(w[i])`."""
    try:
        (statement,) = ast.parse(linecache.getline(file, line).strip()).body
    except (SyntaxError, ValueError):
        return False
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return False
    call = statement.value
    changed = [call.func.value] if isinstance(call.func, ast.Attribute) else []
    return any(isinstance(node, ast.Subscript) for one in (*changed, *call.args) for node in ast.walk(one))
