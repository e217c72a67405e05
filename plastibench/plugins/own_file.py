"""A file of its own for a class that is defined in the main module: its source and all that it uses."""

import ast
import builtins
import inspect
import math
import symtable
import sys
from collections.abc import Iterator
from contextlib import suppress
from re import fullmatch
from types import FunctionType, ModuleType

from plastibench.errors import RequestError
from plastibench.plugins.imports import resolve
from plastibench.plugins.main_code import (
    FUTURE,
    MAIN,
    MainCode,
    Statement,
    own_functions,
    uses_future_annotations,
)

MAX_TEXT = 10_000
"""Characters of a value that is written into the file."""
HINT = "give it to the class as a setting, make it inside the class, or write a plug-in file of your own"
_HARMLESS = (
    *(
        ast.Constant,
        ast.Name,
        ast.Attribute,
        ast.Subscript,
        ast.Slice,
        ast.Tuple,
        ast.List,
        ast.Set,
        ast.Dict,
    ),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.JoinedStr, ast.FormattedValue),
    *(ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)
"""Parts of an expression that has the same value wherever it is evaluated, and does nothing else."""


class OwnFile:
    """Collects the statements that a class needs, each after those that it uses itself."""

    def __init__(self, cls: type, code: MainCode) -> None:
        """Collect them. Raises RequestError if something that the class uses cannot be taken along."""
        self.cls, self.code = cls, code
        self._imports: dict[str, None] = {}
        self._texts: list[str] = []
        self._done: set[str] = set()
        self._future = False
        self._define(cls.__name__, cls)

    def text(self) -> str:
        """Return the file."""
        head = (self.cls.__doc__ or "").strip().partition("\n")[0] or f"{self.cls.__name__}."
        future = [FUTURE, ""] if self._future else []
        parts = [f'"""{head}"""', "", *future, *sorted(self._imports), "", "", "\n\n\n".join(self._texts), ""]
        return "\n".join(parts)

    def num_classes(self, base: type) -> int:
        """Return how many of the classes in the file extend a class."""
        values = map(self.code.names.get, self._done)
        return sum(
            isinstance(value, type) and value.__module__ == MAIN and issubclass(value, base)
            for value in values
        )

    def _define(self, name: str, value: object) -> None:
        """Add the definition of a class or a function, and what it uses."""
        self._done.add(name)
        statement = self.code.definition(name, value)
        if statement is None:
            raise RequestError(self._why_unknown(name))
        self._future |= uses_texts(value)
        self._add(statement, FUTURE if uses_texts(value) else "")

    def _add(self, statement: Statement, head: str = "") -> None:
        hints = set(_annotated(statement.node)) & self.code.names.keys()
        for used in sorted((names_used(f"{head}\n{statement.text}") | hints) - self._done):
            self._take(used)
        self._texts.append(statement.text)

    def _take(self, name: str) -> None:
        """Add what a name stands for: an import, a definition, a value, or an expression."""
        names = self.code.names
        if fullmatch(r"__\w+__", name) or (name not in names and hasattr(builtins, name)):
            return
        self._done.add(name)
        if name not in names:
            raise RequestError(f"class {self.cls.__name__} uses {name}, which nothing defines: {HINT}")
        value = names[name]
        lines = list(self._imports_of(name, value))
        if lines:
            self._imports |= dict.fromkeys(lines)
        elif _is_defined_in_main(value):
            own = value.__name__
            if own == name or own not in self._done:
                self._define(own, value)
            self._texts += [f"{name} = {own}"] if name != own else []
        elif (text := literal(value)) is not None:
            self._texts.append(f"{name} = {text}")
        else:
            self._evaluate(name, value)

    def _evaluate(self, name: str, value: object) -> None:
        """Add the assignment to a name if its expression has the same value in any process."""
        statement = self.code.assignment(name)
        expression = getattr(statement.node, "value", None) if statement is not None else None
        if statement is None or expression is None or not is_harmless(expression):
            kind = type(value).__name__
            raise RequestError(
                f"class {self.cls.__name__} uses {name}, a {kind} that its source does not define: {HINT}"
            )
        self._add(statement)

    def _imports_of(self, name: str, value: object) -> Iterator[str]:
        """Yield the import statements that give a name its value."""
        if isinstance(value, ModuleType):
            yield from self._module_imports(name, value)
            return
        for node in self.code.imports:
            if isinstance(node, ast.ImportFrom):
                module = resolve(node.module or "", node.level, self.code.package)
                for alias in node.names:
                    found = name if alias.name == "*" else alias.name
                    if (alias.asname or found) == name and _member(module, found) is value:
                        yield _from(module, found, name)
                        return
        home, own = str(getattr(value, "__module__", MAIN)), str(getattr(value, "__qualname__", ""))
        if home != MAIN and own.isidentifier() and _member(home, own) is value:
            yield _from(home, own, name)

    def _module_imports(self, name: str, value: ModuleType) -> Iterator[str]:
        if value.__name__ == name:
            yield f"import {name}"
            for node in self.code.imports:  # `import torch.nn.utils.prune` gives torch another attribute
                names = node.names if isinstance(node, ast.Import) else []
                below = (alias for alias in names if alias.asname is None)
                yield from (f"import {a.name}" for a in below if a.name.startswith(f"{name}."))
        else:
            yield f"import {value.__name__} as {name}"

    def _why_unknown(self, name: str) -> str:
        what = f"the source of {name}"
        if name != self.cls.__name__:
            what += f", which class {self.cls.__name__} uses,"
        if self.code.defines(name):
            return f"{what} is not what its cell or file says: it was changed afterwards; define it anew"
        return (
            f"{what} is not known: Python keeps that of scripts, of notebooks, and from 3.13 on of its own "
            "prompt; write it to a file and pass plugins=[FILE]"
        )


def names_used(text: str) -> set[str]:
    """Return the global names that statements use when they are executed, and later."""
    table = symtable.symtable(text, "<statement>", "exec")
    top = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    inner = {name for child in table.get_children() for name in _globals_in(child)}
    return top | inner


def uses_texts(value: object) -> bool:
    """Return whether a class or a function was compiled with annotations as texts."""
    hints = inspect.get_annotations(value) if isinstance(value, type) else {}
    if any(isinstance(hint, str) for hint in hints.values()):
        return True
    return uses_future_annotations(function.__code__ for function in own_functions(value))


def literal(value: object) -> str | None:
    """Return the Python text of a number, a text, None, or containers of them; None for anything else."""
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, float | int) and type(value).__module__ in ("builtins", "numpy"):
        return repr(
            value if isinstance(value, bool) else float(value) if isinstance(value, float) else int(value)
        )
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        text = repr(value) if type(value).__module__ == "builtins" else "?"
        if len(text) <= MAX_TEXT and _same(ast.literal_eval(text), value):
            return text
    return None


def is_harmless(node: ast.expr) -> bool:
    """Return whether an expression calls nothing and waits for nothing when it is evaluated."""
    if isinstance(node, ast.Lambda):
        return True
    if not isinstance(node, _HARMLESS):
        return False
    return all(is_harmless(child) for child in ast.iter_child_nodes(node))  # type: ignore[arg-type]


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _globals_in(table: symtable.SymbolTable) -> Iterator[str]:
    yield from (s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced())
    for child in table.get_children():
        yield from _globals_in(child)


def _annotated(node: ast.AST) -> Iterator[str]:
    """Yield the names in annotations, which may be texts."""
    for child in ast.walk(node):
        for field in ("annotation", "returns"):
            hint = getattr(child, field, None)
            if isinstance(hint, ast.AST):
                yield from _names_in(hint)


def _names_in(hint: ast.AST) -> Iterator[str]:
    """Yield the names in an annotation, also if it is a text, but not the texts that it allows as values."""
    match hint:
        case ast.Name(name):
            yield name
        case ast.Constant(str(text)):
            with suppress(SyntaxError):
                yield from _names_in(ast.parse(text, mode="eval"))
        case ast.Subscript((ast.Name("Literal") | ast.Attribute(attr="Literal")) as literal_type):
            yield from _names_in(literal_type)
        case _:
            for child in ast.iter_child_nodes(hint):
                yield from _names_in(child)


def _is_defined_in_main(value: object) -> bool:
    """Return whether a value is a class or a function that a statement of the main module defines."""
    inner = inspect.unwrap(value) if callable(value) else value
    is_lambda = getattr(inner, "__name__", "") == "<lambda>"
    own = getattr(value, "__module__", None) == MAIN and not is_lambda
    return own and isinstance(inner, type | FunctionType)


def _member(module: str, name: str) -> object:
    """Return what a name means in a module that is imported; a new object if it means nothing."""
    value: object = sys.modules.get(module)
    for part in name.split("."):
        value = getattr(value, part, sys.modules.get(f"{module}.{part}", object()))
    return value


def _from(module: str, name: str, asname: str) -> str:
    return f"from {module} import {name}" + ("" if name == asname else f" as {asname}")
