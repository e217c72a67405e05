"""Find plug-ins: shipped with plastibench, in installed packages, or in files given by path."""

import ast
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path

from plastibench.errors import RequestError
from plastibench.plugins import isolation
from plastibench.plugins.code_hash import parse
from plastibench.plugins.plugin import KINDS, Plugin, classes_of, plugin_errors
from plastibench.plugins.source import Source

DECORATED = re.compile(rb"^@(dataclasses\.)?dataclass\b", re.MULTILINE)


def shipped() -> Iterator[Plugin]:
    """Yield the plug-ins that come with plastibench; nothing is imported."""
    for kind, properties in KINDS.items():
        package = importlib.util.find_spec(properties.package)
        assert package is not None
        for folder in package.submodule_search_locations or ():
            for module in pkgutil.iter_modules([folder]):
                path = Path(folder) / f"{module.name}.py"
                if _is_plugin(path):
                    yield Plugin(kind, module.name, f"{package.name}.{module.name}", path)


def installed() -> Iterator[Plugin]:
    """Yield the plug-ins that installed packages declare as entry points; nothing is imported."""
    declared = _entry_points(tuple((folder, _mtime(Path(folder))) for folder in sys.path))
    for kind, entries in declared.items():
        for entry in entries:
            siblings = _top_level_modules(entry.dist) - {entry.module.partition(".")[0]}
            yield Plugin(kind, entry.name, entry.module, None, entry.attr, tuple(sorted(siblings)))


@cache
def _entry_points(folders: tuple[tuple[str, int], ...]) -> dict[str, tuple[EntryPoint, ...]]:
    """Read a file of every installed package, once until a package comes or goes."""
    return {kind: tuple(entry_points(group=f"plastibench.{kind}s")) for kind in KINDS}


def _mtime(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def from_file(file: Path) -> Plugin:
    """Import a file and return its plug-in; the kind follows from the class that it extends.

    Raises RequestError if the file is missing or does not define one plug-in.
    """
    if not _is_file(file):
        raise RequestError(f"no plug-in file at {file}")
    name = file.absolute().parent.name if file.name == "__init__.py" else file.stem
    if not name.isidentifier():
        raise RequestError(f"plug-in file {file} cannot give a name: {name!r} is not a Python identifier")
    with plugin_errors(f"plug-in file {file}"):
        source = Source.of_file(file.resolve())
        if source.path != file.resolve():
            raise RequestError(
                f"plug-in file {file} is not what Python imports as {source.module}: rename it"
            )
        classes = classes_of(isolation.load(source))
    bases = {kind: properties.base_class() for kind, properties in KINDS.items()}
    kinds = [kind for kind, base in bases.items() if any(issubclass(cls, base) for cls in classes)]
    if len(kinds) != 1:
        *most, last = KINDS
        raise RequestError(
            f"plug-in file {file} must define one {', '.join(most)} or {last}: it defines {len(kinds)}"
        )
    plugin = Plugin(kinds[0], name, source=source)
    plugin.load()
    return plugin


def _top_level_modules(distribution: Distribution | None) -> set[str]:
    """Return the names of the top-level modules of a distribution, as far as it lists them."""
    if distribution is None:
        return set()
    listed = (distribution.read_text("top_level.txt") or "").split()
    files = [file for file in distribution.files or () if file.suffix == ".py"]
    names = listed or [file.parts[0].partition(".")[0] for file in files]
    return {name for name in names if name.isidentifier() and not name.startswith("__")}


def _is_plugin(path: Path) -> bool:
    """Return whether a file defines a dataclass or extends a contract; others are shared by plug-ins.

    A file that cannot be read is a plug-in, too: it fails when it is used, and the others do not.
    """
    try:
        if DECORATED.search(path.read_bytes()):  # most are: parsing them all takes longer than all else
            return True
        classes = [node for node in parse(path).body if isinstance(node, ast.ClassDef)]
    except FileNotFoundError:
        return False
    except (OSError, SyntaxError, ValueError):
        return True
    bases = tuple(properties.contract.rpartition(":")[2] for properties in KINDS.values())
    return any(
        any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
        or any(ast.unparse(base).endswith(bases) for base in node.bases)
        for node in classes
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for the disk
        return False
