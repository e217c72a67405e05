"""One plug-in: a file with one class that keeps the contract of its kind."""

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from types import ModuleType
from typing import Any

from plastibench.errors import RequestError, explain
from plastibench.plugins import isolation
from plastibench.plugins.code_hash import parse, parse_source
from plastibench.plugins.contract import check_class
from plastibench.plugins.extended import extended_digest, shipped_digest
from plastibench.plugins.file_reads import watch
from plastibench.plugins.source import Source
from plastibench.system.output import plugins_to_stderr


@dataclass(frozen=True)
class Kind:
    """A kind of plug-in."""

    package: str
    """Where those shipped with plastibench lie, one file each."""
    contract: str
    """The base class of all, as `module:class`."""
    has_defaults: bool = True
    """Whether an instance can be made without naming any setting."""

    def base_class(self) -> type:
        """Import the base class."""
        module, _, name = self.contract.partition(":")
        return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


KINDS = {
    "method": Kind("plastibench.methods", "plastibench.plugins.method:Method"),
    "task": Kind("plastibench.tasks", "plastibench.plugins.task:Task", has_defaults=False),
    "model": Kind("plastibench.models", "plastibench.plugins.architecture:Architecture"),
    "probe": Kind("plastibench.probes", "plastibench.plugins.probe:Probe"),
    "regime": Kind("plastibench.plugins.regimes", "plastibench.plugins.regime:Regime", has_defaults=False),
}

FIRST_LINE = re.compile(rb'"""[ \t]*([^\s"\\][^"\\\n]*)')
"""The first line of a file's docstring, as nearly every file has it."""

_IMPORTED: dict[str, str] = {}
"""The digest of each shipped module when this process imported it."""


@dataclass(frozen=True)
class Plugin:
    """A plug-in by its name, and where its code is: a module that is shipped or installed, or a source."""

    kind: str
    name: str
    module: str = ""
    """The module if it is shipped or in an installed package."""
    path: Path | None = None
    """The file if it is shipped."""
    attribute: str = ""
    """The class in the module of an installed package, if its entry point names it."""
    siblings: tuple[str, ...] = ()
    """The other top-level modules of the installed distribution."""
    source: Source | None = None
    """The modules of a file given by its path, or kept with a run."""

    @property
    def origin(self) -> str:
        """Return the file or the module, for messages."""
        source = self.source
        return str((source.origin or source.path) if source else self.path or self.module)

    @property
    def is_package(self) -> bool:
        """Return whether its file is the `__init__.py` of a package."""
        source = self.own_source()
        return source is not None and source.path.name == "__init__.py"

    def summary(self) -> str:
        """Return the first line of the file's docstring, without importing it."""
        if self.path is None and self.source is None:
            return f"(from {self.module})"
        try:
            plain = None if self.path is None else FIRST_LINE.match(self.path.read_bytes())
            if plain is not None:  # parsing all files takes longer than all else that `list` does
                return plain[1].decode().strip()
            docstring = ast.get_docstring(self.tree())
        except (OSError, SyntaxError, ValueError) as error:
            return f"(cannot be loaded: {explain(error)})"
        return (docstring or "").partition("\n")[0]

    def docstrings(self) -> Iterator[str]:
        """Yield the docstrings of the module and of its classes, or of the class that is named.

        Nothing is executed. Raises OSError or SyntaxError.
        """
        module, source = self.tree(), self.own_source()
        named = source.attribute if source is not None else ""
        yield ast.get_docstring(module) or ""
        for tree in source.trees() if source is not None and named else [module]:
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and node.name == (named.rpartition(".")[2] or node.name):
                    yield ast.get_docstring(node) or ""

    def digest(self) -> str:
        """Return a digest of what the code does. Raises RequestError if the code imported is another."""
        source = self.own_source()
        if source is not None:
            return extended_digest(source.digest, source.trees())
        assert self.path is not None
        digest = shipped_digest(self.path)
        if _IMPORTED.get(self.module, digest) != digest:
            raise RequestError(f"{self.path} has changed since this process imported it: start a new one")
        return digest

    def own_source(self) -> Source | None:
        """Return all modules of a plug-in that is not shipped, as they were at the first use."""
        if self.path is not None:
            return None
        return self.source or _package_source(self.module, self.attribute, self.siblings)

    def load(self) -> Any:  # noqa: ANN401 - a subclass of the kind's contract
        """Import the file and return its class that keeps the contract.

        Raises RequestError if the file fails, has no such class or several, or forgets @dataclass.
        """
        cls = self._find_class(self._import())
        self._check(cls)
        return cls

    def defines(self, cls: type) -> bool:
        """Return whether a class is the plug-in's; nothing is imported."""
        if self.source is not None:
            name, content = isolation.module_of(cls) or ("", b"")
            if self.source.attribute:
                return cls.__qualname__ == self.source.attribute and content in self.source.files.values()
            return (name, content) == (self.source.module, self.source.own_file)
        if not self.attribute:
            return cls.__module__ == self.module
        return _attribute(sys.modules.get(self.module), self.attribute) is cls

    def tree(self) -> ast.Module:
        """Return the syntax tree of its file. Raises OSError or SyntaxError."""
        source = self.own_source()
        if source is None:
            assert self.path is not None
            return parse(self.path)
        return parse_source(source.own_file, str(source.path))

    def _import(self) -> ModuleType:
        with plugin_errors(f"plug-in file {self.origin}"), plugins_to_stderr():
            if self.source is not None:
                return isolation.load(self.source)
            if self.path is not None:
                _IMPORTED.setdefault(self.module, shipped_digest(self.path))
            else:
                watch(_package_source(self.module, self.attribute, self.siblings).paths)
            return importlib.import_module(self.module)

    def _find_class(self, module: ModuleType) -> type:
        base = KINDS[self.kind].base_class()
        attribute = self.attribute or getattr(self.source, "attribute", "")
        if attribute:
            cls = _attribute(module, attribute)
            if not isinstance(cls, type) or not issubclass(cls, base):
                raise RequestError(
                    f"{attribute} in {self.origin} is no {self.kind}, a subclass of {base.__name__}"
                )
            return cls
        classes = [cls for cls in classes_of(module) if issubclass(cls, base)]
        if len(classes) != 1:
            names = ", ".join(cls.__name__ for cls in classes) or "none"
            hint = (
                f"; name one in the entry point: {self.module}:Class"
                if classes and self.source is None
                else ""
            )
            raise RequestError(
                f"{self.origin} must define exactly one {self.kind}, a subclass of {base.__name__}: "
                f"it defines {names}{hint}"
            )
        return classes[0]

    def _check(self, cls: Any) -> None:  # noqa: ANN401 - a class
        """Raise RequestError for a class that cannot be made from its settings."""
        where = f"{cls.__name__} in {self.origin}"
        if "__dataclass_fields__" not in vars(cls):
            raise RequestError(f"{where} lacks @dataclass above the class")
        missing = sorted(getattr(cls, "__abstractmethods__", ()))
        if missing:
            raise RequestError(f"{where} lacks {', '.join(missing)}")
        try:
            check_class(cls, KINDS[self.kind].base_class())
            with plugin_errors("it cannot be made from its defaults: it"):
                if KINDS[self.kind].has_defaults:
                    cls()
                cls.check_contract()
        except RequestError as error:
            raise RequestError(f"{where}: {error}") from error


@contextmanager
def plugin_errors(what: str) -> Iterator[None]:
    """Turn whatever a plug-in's code raises into a RequestError, but for a user's Ctrl-C."""
    try:
        yield
    except (RequestError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise RequestError(f"{what} raises {explain(error)}") from error


def classes_of(module: ModuleType) -> list[type]:
    """Return the classes that a module defines itself."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]


def _attribute(module: ModuleType | None, name: str) -> object:
    """Return what a dotted name means in a module, or None."""
    return reduce(lambda value, part: getattr(value, part, None), name.split("."), module)


@cache
def _package_source(module: str, attribute: str, siblings: tuple[str, ...]) -> Source:
    return Source.of_package(module, attribute, siblings)
