"""Plug-ins by file name: found in their folders, in installed packages, or in a file given by its path.

Listing reads names and first lines only; nothing is imported before it is used, and nothing is
loaded that was not named.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import plastibench
from plastibench.errors import RequestError, explain, unknown
from plastibench.plugins.code_hash import file_digest, parse

FOLDERS = {"method": "methods", "task": "tasks", "model": "models"}
"""Kinds of plug-in and the subpackage that holds those shipped here."""

CONTRACTS = {
    "method": "plastibench.plugins.method:Method",
    "task": "plastibench.plugins.task:Task",
    "model": "plastibench.plugins.architecture:Architecture",
}


@dataclass(frozen=True)
class Plugin:
    """One method, task or model: a name, and where its code lies."""

    kind: str
    name: str
    module: str
    path: Path | None
    """The source file; None where an installed package does not tell."""

    def summary(self) -> str:
        """Return the first line of the file's docstring, without importing it."""
        if self.path is None:
            return f"(from {self.module})"
        try:
            tree = parse(self.path)
        except (OSError, SyntaxError, ValueError) as error:
            return f"(cannot be loaded: {explain(error)})"
        return (ast.get_docstring(tree) or "").partition("\n")[0]

    def load(self) -> Any:  # noqa: ANN401 - a class of the kind's contract
        """Import the file and return the one class in it that keeps the contract.

        Raises RequestError where the file fails, has no such class or several, or forgets @dataclass.
        """
        module = self._import()
        contract = _contract(self.kind)
        found = [
            thing
            for thing in vars(module).values()
            if isinstance(thing, type) and issubclass(thing, contract) and thing.__module__ == module.__name__
        ]
        if len(found) != 1:
            names = ", ".join(thing.__name__ for thing in found) or "none"
            raise RequestError(
                f"{self.path or self.module} must define exactly one {self.kind}, "
                f"a subclass of {contract.__name__}: it defines {names}"
            )
        self._check(found[0])
        return found[0]

    def _check(self, kind: Any) -> None:  # noqa: ANN401 - a class
        """Refuse a class that could not be made from its settings."""
        where = f"{kind.__name__} in {self.path or self.module}"
        if "__dataclass_fields__" not in vars(kind):
            raise RequestError(f"{where} lacks @dataclass above the class")
        missing = sorted(getattr(kind, "__abstractmethods__", ()))
        if missing:
            raise RequestError(f"{where} lacks {', '.join(missing)}")
        if self.kind != "task":  # a task is made with a recipe and a model
            with plugin_errors(f"{where} cannot be made from its defaults: it"):
                kind()

    def _import(self) -> ModuleType:
        with plugin_errors(f"plug-in file {self.path or self.module}"):
            if self.path is not None and self.module not in sys.modules and self.module.startswith(OUTSIDE):
                return _import_file(self.module, self.path)
            return importlib.import_module(self.module)
        raise AssertionError("not reached")


@contextmanager
def plugin_errors(what: str) -> Iterator[None]:
    """Turn whatever a plug-in's code raises into an error of the request; a user's Ctrl-C stays one."""
    try:
        yield
    except (RequestError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise RequestError(f"{what} raises {explain(error)}") from error


OUTSIDE = "plastibench_plugin_"
"""Prefix of the module names under which files given by path are imported."""


class Registry:
    """All plug-ins that can be used in this process."""

    def __init__(self, files: tuple[Path, ...] = ()) -> None:
        """Add the plug-ins in `files` to those shipped and installed.

        Raises RequestError for a file that is missing, has no plug-in, or takes a name in use.
        """
        self.files = files
        self._known: dict[tuple[str, str], Plugin] = {}
        for plugin in (*_shipped(), *_installed()):
            self._add(plugin)
        for file in files:
            self._add(_outside(file))

    def names(self, kind: str) -> list[str]:
        """Return the names of a kind, sorted."""
        return sorted(name for found, name in self._known if found == kind)

    def get(self, kind: str, name: str) -> Plugin:
        """Return a plug-in. Raises RequestError, with the nearest name, where there is none."""
        if (kind, name) not in self._known:
            raise unknown(kind, name, self.names(kind))
        return self._known[kind, name]

    def load(self, kind: str, name: str) -> Any:  # noqa: ANN401 - a class of the kind's contract
        """Return the class of a plug-in."""
        return self.get(kind, name).load()

    def _add(self, plugin: Plugin) -> None:
        before = self._known.get((plugin.kind, plugin.name))
        if before is not None:
            raise RequestError(
                f"{plugin.kind} {plugin.name!r} in {plugin.path or plugin.module} reuses a name: "
                f"{before.path or before.module} has it"
            )
        self._known[plugin.kind, plugin.name] = plugin


def _shipped() -> Iterator[Plugin]:
    for kind, folder in FOLDERS.items():
        package = importlib.util.find_spec(f"{plastibench.__name__}.{folder}")
        assert package is not None
        assert package.submodule_search_locations is not None
        for place in package.submodule_search_locations:
            for found in pkgutil.iter_modules([place]):
                path = Path(place) / f"{found.name}.py"
                if _is_plugin(path):
                    yield Plugin(kind, found.name, f"{package.name}.{found.name}", path)


def _is_plugin(path: Path) -> bool:
    """Tell a plug-in from a file that others share: it defines a dataclass, or extends a contract.

    A file that cannot be read is one, too: it is named when it is used, and the others go on.
    """
    try:
        classes = [node for node in parse(path).body if isinstance(node, ast.ClassDef)]
    except FileNotFoundError:
        return False
    except (OSError, SyntaxError, ValueError):
        return True
    contracts = tuple(contract.rpartition(":")[2] for contract in CONTRACTS.values())
    return any(
        any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
        or any(ast.unparse(base).endswith(contracts) for base in node.bases)
        for node in classes
    )


def _installed() -> Iterator[Plugin]:
    for kind, folder in FOLDERS.items():
        for entry in entry_points(group=f"plastibench.{folder}"):
            yield Plugin(kind, entry.name, entry.module, None)


def _outside(file: Path) -> Plugin:
    """Return the plug-in in a file given by its path; its kind follows from the class it extends."""
    if not _is_file(file):
        raise RequestError(f"no plug-in file at {file}")
    name, module = file.stem, f"{OUTSIDE}{file.stem}"
    if not name.isidentifier():
        raise RequestError(f"plug-in file {file} cannot give a name: {name!r} is not a Python identifier")
    sys.modules.pop(module, None)
    with plugin_errors(f"plug-in file {file}"):
        loaded = _import_file(module, file)
    own = [t for t in vars(loaded).values() if isinstance(t, type) and t.__module__ == module]
    kinds = [kind for kind in FOLDERS if any(issubclass(t, _contract(kind)) for t in own)]
    if len(kinds) != 1:
        raise RequestError(
            f"plug-in file {file} must define one method, task or model: it defines {len(kinds)}"
        )
    plugin = Plugin(kinds[0], name, module, file.resolve())
    plugin.load()
    return plugin


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for the disk
        return False


def _import_file(module: str, path: Path) -> ModuleType:
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


def _contract(kind: str) -> type:
    module, _, name = CONTRACTS[kind].partition(":")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


def fingerprint(plugin: Plugin) -> str:
    """Return a digest of what a plug-in's code does, or an empty text if there is no source."""
    path = plugin.path
    if path is None:
        source = importlib.util.find_spec(plugin.module)
        path = Path(source.origin) if source is not None and source.origin else None
    return "" if path is None else file_digest(path)
