"""One plug-in: a file with one class that keeps the contract of its kind."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from plastibench.errors import RequestError, explain
from plastibench.plugins.code_hash import file_digest, parse


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

FILE_MODULE = "plastibench_plugin_"
"""Prefix of the module names under which files given by path are imported."""


@dataclass(frozen=True)
class Plugin:
    """A plug-in by its name, and where its code is."""

    kind: str
    name: str
    module: str
    path: Path | None
    """The source file; None if it is in an installed package."""

    @property
    def origin(self) -> str:
        """Return the file or the module, for messages."""
        return str(self.path or self.module)

    def summary(self) -> str:
        """Return the first line of the file's docstring, without importing it."""
        if self.path is None:
            return f"(from {self.module})"
        try:
            docstring = ast.get_docstring(parse(self.path))
        except (OSError, SyntaxError, ValueError) as error:
            return f"(cannot be loaded: {explain(error)})"
        return (docstring or "").partition("\n")[0]

    def digest(self) -> str:
        """Return a digest of what the code does, or an empty text if there is no source."""
        path = self.path
        if path is None:
            spec = importlib.util.find_spec(self.module)
            path = Path(spec.origin) if spec is not None and spec.origin else None
        return "" if path is None else file_digest(path)

    def load(self) -> Any:  # noqa: ANN401 - a subclass of the kind's contract
        """Import the file and return its one class that keeps the contract.

        Raises RequestError if the file fails, has no such class or several, or forgets @dataclass.
        """
        module, base = self._import(), KINDS[self.kind].base_class()
        classes = [cls for cls in classes_of(module) if issubclass(cls, base)]
        if len(classes) != 1:
            names = ", ".join(cls.__name__ for cls in classes) or "none"
            raise RequestError(
                f"{self.origin} must define exactly one {self.kind}, a subclass of {base.__name__}: "
                f"it defines {names}"
            )
        self._check(classes[0])
        return classes[0]

    def _import(self) -> ModuleType:
        with plugin_errors(f"plug-in file {self.origin}"):
            if self.path is not None and self.module.startswith(FILE_MODULE):
                module = sys.modules.get(self.module) or import_file(self.module, self.path)
            else:
                module = importlib.import_module(self.module)
        return module

    def _check(self, cls: Any) -> None:  # noqa: ANN401 - a class
        """Raise RequestError for a class that cannot be made from its settings."""
        where = f"{cls.__name__} in {self.origin}"
        if "__dataclass_fields__" not in vars(cls):
            raise RequestError(f"{where} lacks @dataclass above the class")
        missing = sorted(getattr(cls, "__abstractmethods__", ()))
        if missing:
            raise RequestError(f"{where} lacks {', '.join(missing)}")
        if KINDS[self.kind].has_defaults:
            with plugin_errors(f"{where} cannot be made from its defaults: it"):
                cls()


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


def import_file(module: str, path: Path) -> ModuleType:
    """Import a file under a name of its own."""
    spec = importlib.util.spec_from_file_location(module, path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded  # before it runs: dataclasses look their own module up
    try:
        spec.loader.exec_module(loaded)
    except BaseException:
        del sys.modules[module]
        raise
    return loaded
