"""Write the file of a new plug-in, or a package around it, from templates that already work."""

import keyword
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template

from plastibench.errors import RequestError
from plastibench.plugins.registry import Registry
from plastibench.system.files import write_atomic

TEMPLATES = Path(__file__).with_name("templates")
KINDS = ("method", "model", "task")


@dataclass(frozen=True, kw_only=True)
class NewRequest:
    """A plug-in to begin."""

    kind: str
    """One of `KINDS`."""
    name: str
    """A Python identifier; the name of the file, and that which commands know."""
    folder: Path
    """Where the file or the package is written."""
    package: bool = False
    """Whether to write a package with an entry point, a test and a workflow for continuous integration."""


def new(request: NewRequest) -> list[Path]:
    """Write the files and return their paths.

    Raises RequestError for a name that cannot be used, and for a file that is already there.
    """
    _check_name(request)
    files = dict(_package_files(request) if request.package else _plugin_file(request, request.folder))
    for path in files:
        if path.exists():
            raise RequestError(f"{path} is already there: choose another name, or remove it")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text)
    return list(files)


def _check_name(request: NewRequest) -> None:
    name = request.name
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise RequestError(
            f"the name {name!r} is not allowed: it must be a Python identifier in small letters, like my_idea"
        )
    if name in Registry().names(request.kind):
        raise RequestError(f"there is a {request.kind} named {name!r} already: choose another name")


def _plugin_file(request: NewRequest, folder: Path) -> Iterator[tuple[Path, str]]:
    yield folder / f"{request.name}.py", _filled(f"{request.kind}.py.txt", request)


def _package_files(request: NewRequest) -> Iterator[tuple[Path, str]]:
    root = request.folder / _values(request)["project"]
    package = root / "src" / _values(request)["package"]
    yield root / "pyproject.toml", _filled("package/pyproject.toml.txt", request)
    yield root / "README.md", _filled("package/README.md.txt", request)
    yield package / "__init__.py", _filled("package/__init__.py.txt", request)
    yield from _plugin_file(request, package)
    yield root / "tests" / f"test_{request.name}.py", _filled(f"package/test_{request.kind}.py.txt", request)
    yield root / ".github" / "workflows" / "test.yml", _filled("package/workflow.yml.txt", request)


def first_command(request: NewRequest) -> str:
    """Return the command that runs the plug-in."""
    return _filled(f"{request.kind}.first_command.txt", request).rstrip("\n")


def _filled(template: str, request: NewRequest) -> str:
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    return Template(text).substitute(_values(request))


def _values(request: NewRequest) -> dict[str, str]:
    words = request.name.strip("_").split("_")
    title = " ".join(words).capitalize()
    return {
        "kind": request.kind,
        "name": request.name,
        "title": title,
        "class_name": "".join(word.capitalize() for word in words),
        "project": f"plastibench-{request.name.strip('_').replace('_', '-')}",
        "package": f"plastibench_{request.name.strip('_')}",
    }
