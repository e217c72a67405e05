"""The code of the main module, as far as it is known: of a script, a notebook's cells or a prompt."""

import __future__

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from plastibench.plugins.code_names import functions_in

MAIN = "__main__"
FUTURE = "from __future__ import annotations"


class Statement(NamedTuple):
    """A statement that the user has executed at the top level, or in a branch there."""

    node: ast.stmt
    text: str
    """Its lines, not indented."""
    whole: str
    """The script or the cell that it is in."""


class MainCode:
    """What the user has executed in the main module, and the names that it has defined."""

    def __init__(self) -> None:
        """Read the code that is on record."""
        module = sys.modules[MAIN]
        self.names = dict(vars(module))
        """The values of the names at this moment."""
        own = (value for value in self.names.values() if getattr(value, "__module__", None) == MAIN)
        inputs = dict.fromkeys([*reversed(list(_cells())), *_script(module), *_inputs_of(own)])
        self.statements = [statement for text in inputs for statement in _statements(text)]
        """Those executed last come first."""
        self.folder = Path(getattr(module, "__file__", None) or "x").absolute().parent
        """Where its own modules lie: beside the script, or in the working directory."""
        self.package = getattr(module, "__package__", None) or ""
        for _ in self.package.split(".") if self.package else ():
            self.folder = self.folder.parent

    def definition(self, name: str, value: object) -> Statement | None:
        """Return the statement that defined a class or a function, which has the same code; None if none has.

        A function that was given to a class afterwards is code that its statement does not have.
        """
        codes = [plain(function.__code__) for function in own_functions(value)]
        for statement in self.statements:
            if getattr(statement.node, "name", None) == name and isinstance(statement.node, _DEFINITIONS):
                known = _compiled(statement.whole, uses_future_annotations(codes))
                own = {plain(code) for code in known if f"{code.co_qualname}.".startswith(f"{name}.")}
                if own.issuperset(codes):
                    return statement
        return None

    def defines(self, name: str) -> bool:
        """Return whether some statement defines a class or a function of this name."""
        return any(getattr(statement.node, "name", None) == name for statement in self.statements)

    def assignment(self, name: str) -> Statement | None:
        """Return the last assignment to a name, or None."""
        for statement in self.statements:
            node = statement.node
            targets = node.targets if isinstance(node, ast.Assign) else []
            targets = [node.target] if isinstance(node, ast.AnnAssign) and node.value else targets
            if len(targets) == 1 and isinstance(targets[0], ast.Name) and targets[0].id == name:
                return statement
        return None

    @property
    def imports(self) -> Iterator[ast.Import | ast.ImportFrom]:
        """Yield the import statements, the last one first."""
        for statement in self.statements:
            if isinstance(statement.node, ast.Import | ast.ImportFrom):
                yield statement.node


_DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def plain(code: CodeType) -> CodeType:
    """Return code without the file and the lines that it comes from, to be compared."""
    consts = tuple(plain(each) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_filename="", co_firstlineno=1, co_linetable=b"", co_consts=consts)


def uses_future_annotations(codes: Iterable[CodeType]) -> bool:
    """Return whether code was compiled with annotations as texts."""
    return any(code.co_flags & __future__.annotations.compiler_flag for code in codes)


@cache
def _compiled(text: str, future: bool) -> list[CodeType]:
    """Return all code in a script or a cell; what a call compiles to depends on the imports beside it."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | (__future__.annotations.compiler_flag if future else 0)
    with suppress(SyntaxError):
        return list(_nested(compile(text, "<input>", "exec", flags, dont_inherit=True)))
    return []


def _nested(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _nested(constant)


def own_functions(value: object) -> Iterator[FunctionType]:
    """Yield a function, or the functions of a class but for those that Python or dataclasses made."""
    if not isinstance(value, type):
        yield from (each for each in functions_in(value) if not hasattr(each, "__wrapped__"))
        return
    for name, member in vars(value).items():
        made = name.startswith("__") and name.endswith("__") and name != "__post_init__"
        for function in () if made else functions_in(member):
            if not hasattr(function, "__wrapped__") and function.__module__ == value.__module__:
                yield function


def _inputs_of(values: Iterable[object]) -> Iterator[str]:
    """Yield the cell, the console's input or the file in which each function of values was defined."""
    for value in values:
        for function in own_functions(value):
            with suppress(OSError, TypeError, IndexError, SyntaxError):
                yield "".join(inspect.findsource(function)[0])


def _script(module: ModuleType) -> Iterator[str]:
    path = getattr(module, "__file__", None)
    if path is not None:
        with suppress(OSError, ValueError):
            yield Path(path).read_text(encoding="utf-8")


def _cells() -> Iterator[str]:
    """Yield the cells of a notebook, or the inputs of IPython, in the order of their execution."""
    ipython: Any = sys.modules.get("IPython")
    shell: Any = None if ipython is None else ipython.get_ipython()
    for text in () if shell is None else tuple(shell.history_manager.input_hist_parsed):
        yield from _magic_bodies(text, shell.transform_cell)
        yield text


def _magic_bodies(text: str, transform: Callable[[str], str]) -> Iterator[str]:
    """Yield the code below a magic such as `%%time`, which is a text in a call."""
    with suppress(SyntaxError, ValueError):
        for node in ast.parse(text).body:
            match node:
                case ast.Expr(
                    ast.Call(ast.Attribute(attr="run_cell_magic"), [_, _, ast.Constant(str(body))])
                ):
                    yield transform(body)


def _statements(text: str) -> Iterator[Statement]:
    """Yield the statements of an input, the last one first; none of one that is not Python."""
    with suppress(SyntaxError, ValueError):
        lines = text.split("\n")
        for node in reversed([*_flat(ast.parse(text).body)]):
            yield Statement(node, _text_of(node, lines), text)


def _flat(nodes: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements and those in their branches, but not in functions and classes."""
    for node in nodes:
        yield node
        if not isinstance(node, _DEFINITIONS):
            for field in ("body", "orelse", "finalbody"):
                yield from _flat(getattr(node, field, ()))
            for handler in getattr(node, "handlers", ()):
                yield from _flat(handler.body)


def _text_of(node: ast.stmt, lines: list[str]) -> str:
    """Return the lines of a statement with its decorators; written anew if others are on these lines."""
    decorators = getattr(node, "decorator_list", ())
    start = min([node.lineno, *(each.lineno for each in decorators)])
    text = textwrap.dedent("\n".join(lines[start - 1 : node.end_lineno]))
    with suppress(SyntaxError):
        parsed = ast.parse(text).body
        if len(parsed) == 1 and ast.dump(parsed[0]) == ast.dump(node):
            return text
    return ast.unparse(node)
