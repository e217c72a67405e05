"""Execute the source of a plug-in as a package of its own, so that no two share a helper by its name."""

import ast
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import decode_source, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from plastibench.errors import RequestError
from plastibench.plugins.code_hash import parse_source
from plastibench.plugins.file_reads import watch
from plastibench.plugins.imports import IMPORT_MODULE, MovedImports
from plastibench.plugins.source import INSTALLED, Source, imports_of

PREFIX = "plastibench_plugin_"
"""Of the names of the packages."""


def load(source: Source) -> ModuleType:
    """Return the module of a plug-in, which is executed if it has not been yet.

    Raises whatever the plug-in raises, and RequestError if it imports a module that its digest leaves out.
    """
    name = f"{_FINDER.add(source)}.{source.module}"
    if name in sys.modules:
        return sys.modules[name]
    watch(source.paths)
    before = set(sys.modules)
    module = importlib.import_module(name)
    _check_imports(source, set(sys.modules) - before)
    return module


def module_of(cls: type) -> tuple[str, bytes] | None:
    """Return the name of the module of a plug-in that defines a class, and its content."""
    loader = getattr(sys.modules.get(cls.__module__), "__loader__", None)
    if not isinstance(loader, SourceLoader):
        return None
    return cls.__module__.partition(".")[2], loader.source.files[loader.file]


class SourceFinder(MetaPathFinder):
    """Finds the modules of plug-ins by their names in Python's list of modules."""

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}

    def add(self, source: Source) -> str:
        """Return the name of the package of a source, which depends on its files and where they are."""
        content = repr((str(source.root), sorted(source.files.items())))
        package = PREFIX + hashlib.sha256(content.encode()).hexdigest()[:16]
        self._sources.setdefault(package, source)
        return package

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module of a plug-in, None for others. Raises ModuleNotFoundError."""
        package, _, local = name.partition(".")
        source = self._sources.get(package)
        if source is None:
            self._check(name, path)
            return None
        file = source.find(local)
        if file is None and (not local or source.has_folder(local)):
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = []
            return spec
        if file is None:  # raised, so that no other finder loads a file that the digest leaves out
            raise ModuleNotFoundError(f"No module named {local!r}", name=name)
        location = source.root / file
        if not file.endswith(".py"):
            return spec_from_file_location(name, location)
        folders = [str(location.parent)] if location.name == "__init__.py" else None
        loader = SourceLoader(source, package, file)
        return spec_from_file_location(name, location, loader=loader, submodule_search_locations=folders)

    def _check(self, name: str, path: Sequence[str] | None) -> None:
        """Raise RequestError if a plug-in imports a module that its digest leaves out, however late."""
        source = self._importer()
        spec = PathFinder.find_spec(name, path) if source is not None else None
        if source is not None and spec is not None and spec.origin is not None:
            _check_module(source, name, Path(spec.origin))

    def _importer(self) -> Source | None:
        """Return the source of the plug-in whose code is being executed, or None."""
        frame = inspect.currentframe() if self._sources else None
        while frame is not None:
            package = str(frame.f_globals.get("__name__")).partition(".")[0]
            if package in self._sources:
                return self._sources[package]
            frame = frame.f_back
        return None


class SourceLoader(InspectLoader):
    """Executes one module of a source, with the imports of its other modules led to them."""

    def __init__(self, source: Source, package: str, file: str) -> None:
        self.source, self.package, self.file = source, package, file

    def get_source(self, fullname: str) -> str:
        """Return the text, which tracebacks show."""
        return decode_source(self.source.files[self.file])

    def get_code(self, fullname: str) -> CodeType:
        """Compile the module."""
        path = str(self.source.root / self.file)
        tree = parse_source(self.source.files[self.file], path)
        moved = MovedImports(self.package, self.source.is_local).visit(tree)
        return compile(ast.fix_missing_locations(moved), path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module."""
        vars(module)[IMPORT_MODULE] = partial(_import_module, self.package, self.source.is_local)
        super().exec_module(module)


_FINDER = SourceFinder()
sys.meta_path.insert(0, _FINDER)


def _import_module(
    own: str, is_local: Callable[[str], bool], name: str, package: str | None = None
) -> ModuleType:
    """Import a module as `importlib.import_module`, a local one from the package of its plug-in."""
    if name.startswith("."):
        return importlib.import_module(name, f"{own}.{package}" if is_local(package or "") else package)
    return importlib.import_module(f"{own}.{name}" if is_local(name) else name)


def _check_imports(source: Source, imported: set[str]) -> None:
    """Raise RequestError for a module in the plug-in's folder that was imported under another name."""
    named = {name for file, content in source.files.items() for name in imports_of(file, content)}
    for name in sorted(imported | {name for name in named if not source.is_local(name)}):
        _check_module(source, name, Path(str(getattr(sys.modules.get(name), "__file__", None) or "/")))


def _check_module(source: Source, name: str, path: Path) -> None:
    """Raise RequestError for a module that is in the folder of a plug-in and not in its source."""
    if f"{name}.".startswith((PREFIX, "plastibench.")) or not _is_own(path, source.root):
        return
    raise RequestError(
        f'plug-in {source.path} imports {path} as {name}, which its digest cannot see: write "import '
        f'{".".join(path.relative_to(source.root).with_suffix("").parts)}"'
    )


def _is_own(path: Path, root: Path) -> bool:
    """Return whether a module belongs to the folder of a plug-in, and not to what is installed below it.

    That is Python or, if the folder is a checkout of plastibench, plastibench: the first import of
    multiprocessing gives another name to the module that the program began with.
    """
    outside = not path.is_relative_to(root) or any(folder in path.parts for folder in INSTALLED)
    installed = (sys.prefix, sys.base_prefix, Path(__file__).parents[1])
    return not outside and not any(path.is_relative_to(folder) for folder in installed)
