"""The digest of a plug-in that extends a shipped method or task: it covers their code, too."""

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from plastibench.plugins.code_hash import file_digest, parse
from plastibench.plugins.imports import imported_names

PACKAGES = ("plastibench.methods", "plastibench.tasks")
"""What plug-ins may import beside plastibench.api."""


def shipped_digest(path: Path) -> str:
    """Return the digest of a shipped plug-in, given its file. Raises OSError or SyntaxError."""
    stats = path.stat()
    return _with_imported(file_digest(path), _file_imports(path, stats.st_mtime_ns, stats.st_size))


def extended_digest(digest: str, trees: Iterable[ast.Module]) -> str:
    """Return a digest of code, given its own and its syntax trees.

    It is its own if the code imports no shipped plug-in.
    """
    return _with_imported(digest, (name for tree in trees for name in imported_names(tree, "")))


def _with_imported(digest: str, names: Iterable[str]) -> str:
    imported = {name: shipped_digest(path) for name, path in _shipped(names)}
    if not imported:
        return digest
    text = json.dumps([digest, imported], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _file_imports(path: Path, mtime_ns: int, size: int) -> tuple[str, ...]:
    """Return what a file imports, found once until the file changes."""
    return tuple(imported_names(parse(path), ""))


def _shipped(names: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Yield the name and the file of each shipped plug-in among imported names."""
    for name in names:
        package, _, module = ".".join(name.split(".")[:3]).rpartition(".")
        spec = importlib.util.find_spec(package) if package in PACKAGES else None
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            path = Path(folder) / f"{module}.py"
            if path.is_file():
                yield f"{package}.{module}", path
