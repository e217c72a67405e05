"""Which names the code of a plug-in uses, read from its compiled functions: nothing is executed."""

import sys
from collections.abc import Iterable, Iterator
from importlib.abc import InspectLoader
from inspect import CO_OPTIMIZED
from types import CodeType, FunctionType

OWN_PACKAGE = __name__.partition(".")[0]


def names_in(function: object) -> set[str]:
    """Return the names and texts in the code of a function, a method or a property, decorated or not."""
    codes = (code for one in functions_in(function) for code in _nested(one.__code__))
    return {name for code in codes for name in names_of(code)}


def names_of(code: CodeType) -> Iterator[str]:
    """Yield the names and texts in the code of a function, without those inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        items = constant if isinstance(constant, tuple | frozenset) else (constant,)
        yield from (item for item in items if isinstance(item, str))


def plugin_code(classes: Iterable[type]) -> Iterator[CodeType]:
    """Yield the code of each function in the modules of classes, and in the other modules of their plug-in.

    The bodies of modules and classes are left out: they declare names.
    """
    for name in dict.fromkeys(module for cls in classes for module in _modules_of(cls)):
        loader = getattr(sys.modules[name], "__loader__", None)
        code = loader.get_code(name) if isinstance(loader, InspectLoader) else None
        if code is not None:
            yield from (one for one in _nested(code) if one.co_flags & CO_OPTIMIZED)


def _modules_of(cls: type) -> list[str]:
    top = cls.__module__.partition(".")[0]
    if top == OWN_PACKAGE:
        return [cls.__module__]
    return [name for name in sys.modules if name.partition(".")[0] == top]


def functions_in(value: object) -> Iterator[FunctionType]:
    """Yield the functions behind a method, a property or decorators."""
    if isinstance(value, FunctionType):
        yield value
    for name in ("__func__", "fget", "func", "__wrapped__"):
        if (inner := getattr(value, name, None)) is not None:
            yield from functions_in(inner)


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)
