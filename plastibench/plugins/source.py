"""The source of a plug-in: its file and the modules that it imports from its folder or package."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path, PurePosixPath

from plastibench.plugins import code_hash
from plastibench.plugins.imports import COMPUTED, imported_names

SUFFIXES = (*EXTENSION_SUFFIXES, ".py")
"""Of files that are modules, in Python's order."""
NEVER_LOCAL = {"plastibench", *sys.builtin_module_names}
INSTALLED = ("site-packages", "dist-packages")
"""Folders whose modules belong to many projects."""


@dataclass(frozen=True, eq=False)
class Source:
    """The modules of a plug-in, as they were when they were read; what is executed, hashed and kept."""

    module: str
    """The plug-in's own module, as the others import it."""
    files: Mapping[str, bytes]
    """The content of every module by its path below `root`; of a compiled one, its digest."""
    root: Path
    """Where they were read from."""
    attribute: str = ""
    """The class in the module, if it is named."""
    origin: str = ""
    """Where it comes from if its own module was in no file."""

    @property
    def paths(self) -> list[Path]:
        """Return the paths of the modules."""
        return [self.root / file for file in self.files]

    @classmethod
    def of_file(cls, path: Path) -> Source:
        """Read a file and all that it imports from its folder, or from the package that it is in.

        Raises OSError if a file cannot be read.
        """
        folder, names = path.parent, [] if path.name == "__init__.py" else [path.stem]
        while (folder / "__init__.py").is_file() and folder.name.isidentifier():
            folder, names = folder.parent, [folder.name, *names]
        module = ".".join(names)
        tops = {names[0]} if folder.name in INSTALLED else None
        return cls(module, dict(_collect(folder, module, tops)), folder)

    @classmethod
    def of_text(cls, module: str, text: str, folder: Path, attribute: str, origin: str) -> Source:
        """Take the text of a module that is in no file, and all that it imports from a folder."""
        own = f"{module}.py"
        files = {own: text.encode()}
        for name in imports_of(own, files[own]):
            files = {**dict(_collect(folder, name, None)), **files}
        return cls(module, files, folder, attribute, origin)

    @classmethod
    def of_package(cls, module: str, attribute: str, others: Iterable[str] = ()) -> Source:
        """Read all modules of the installed package of a module, and of `others` of its distribution."""
        files: dict[str, bytes] = {}
        root = Path()
        for name in (*others, module):
            for folder, path in _package_files(name):
                root = folder
                files[path.relative_to(folder).as_posix()] = _content(path)
        return cls(module, dict(sorted(files.items())), root, attribute)

    @cached_property
    def path(self) -> Path:
        """Return the file of the plug-in's own module."""
        return self.root / (self.find(self.module) or "")

    @property
    def own_file(self) -> bytes:
        """Return the content of that file; empty if a package does not have it."""
        return self.files.get(self.find(self.module) or "", b"")

    @cached_property
    def digest(self) -> str:
        """Return 16 hexadecimal digits: for one file those of its code, otherwise of all modules."""
        own = {path: self._code(path) for path in self.files}
        if len(own) == 1 and "." not in self.module and not self.attribute:
            return own.popitem()[1][0]
        text = json.dumps([self.module, self.attribute, own], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def trees(self) -> Iterator[ast.Module]:
        """Yield the syntax trees of the modules that Python can read."""
        for path, content in self.files.items():
            if path.endswith(".py"):
                with suppress(SyntaxError):
                    yield code_hash.parse_source(content, path)

    def is_local(self, name: str) -> bool:
        """Return whether an imported module is one of these, or would have to be."""
        return name.partition(".")[0] in self._tops

    def find(self, name: str) -> str | None:
        """Return the path of a module below `root`, or None."""
        stem = name.replace(".", "/")
        candidates = (f"{stem}/__init__.py", *(f"{stem}{suffix}" for suffix in SUFFIXES))
        return next((path for path in candidates if path in self.files), None)

    def has_folder(self, name: str) -> bool:
        """Return whether a name is that of a folder with modules."""
        stem = name.replace(".", "/") + "/"
        return any(path.startswith(stem) for path in self.files)

    @cached_property
    def _tops(self) -> set[str]:
        return {path.partition("/")[0].partition(".")[0] for path in self.files}

    def _code(self, path: str) -> tuple[str, list[str]]:
        """Return the digest of a module and what it imports from the others."""
        content = self.files[path]
        if not path.endswith(".py"):
            return content.decode(errors="replace"), []
        try:
            tree = code_hash.parse_source(content, path)
        except SyntaxError:  # no part of what is executed, or that fails by itself
            return hashlib.sha256(content).hexdigest()[:16], []
        names = imported_names(tree, package_of(path))
        return code_hash.digest(tree), sorted({name for name in names if self.is_local(name)})


def package_of(path: str) -> str:
    """Return the package of a module, given its path."""
    return ".".join(PurePosixPath(path).parts[:-1])


def is_regular_module(name: str) -> bool:
    """Return whether Python finds a module, or a package with an `__init__.py`, of a top-level name."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


def _collect(root: Path, module: str, tops: set[str] | None) -> Iterator[tuple[str, bytes]]:
    """Yield the path and the content of a module and of all that it imports from `root`, each once."""
    pending, done = [module], set[Path]()
    while pending:
        name = pending.pop()
        top = name.partition(".")[0]
        if top in NEVER_LOCAL or (tops is not None and top not in tops):
            continue
        for path in set(_module_files(root, name)) - done:
            done.add(path)
            relative, content = path.relative_to(root).as_posix(), _content(path)
            yield relative, content
            for imported in imports_of(relative, content):
                first = module.partition(".")[0] if "." in module else ""
                pending.append(f"{first}.**".lstrip(".") if imported == COMPUTED else imported)


def imports_of(path: str, content: bytes) -> list[str]:
    """Return the absolute names that a module imports; none of a file that Python cannot read."""
    if not path.endswith(".py"):
        return []
    try:
        return list(imported_names(code_hash.parse_source(content, path), package_of(path)))
    except SyntaxError:  # names its line if the file is executed
        return []


def _module_files(root: Path, name: str) -> Iterator[Path]:
    """Yield the files that Python executes to import a module from a folder; none if it is not there."""
    folder = root
    for position, part in enumerate(name.split(".")):
        if part in ("*", "**"):
            every = folder.rglob("*.py") if part == "**" and folder != root else folder.glob("*.py")
            yield from (path for path in every if path.stem.isidentifier())
            return
        candidates = (folder / part / "__init__.py", *(folder / f"{part}{suffix}" for suffix in SUFFIXES))
        file = next((path for path in candidates if path.is_file()), None)
        if file is not None:
            yield file
        elif not (folder / part).is_dir() or (position == 0 and is_regular_module(part)):
            return
        folder = folder / part


def _package_files(module: str) -> Iterator[tuple[Path, Path]]:
    """Yield the folder above, and the file, of each module in the package of an installed module."""
    parts = module.split(".")
    try:
        spec = importlib.util.find_spec(parts[0])
    except (ImportError, ValueError):
        return
    if spec is None:
        return
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    if not folders and spec.origin is not None:
        yield Path(spec.origin).parent, Path(spec.origin)
    for folder in folders:
        inner = folder
        for part in parts[1:-1]:  # a namespace that several distributions share
            if (inner / "__init__.py").exists():
                break
            inner = inner / part
        for path in sorted(inner.rglob("*")):
            if path.name.endswith(SUFFIXES) and "__pycache__" not in path.parts:
                yield folder.parent, path


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    return content if path.suffix == ".py" else hashlib.sha256(content).hexdigest().encode()
