"""What a user names on the command line by `FILE.py:name` or `module:name`, with arguments if need be."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from plastibench.errors import RequestError
from plastibench.plugins.plugin import plugin_errors


def call_named(text: str, what: str) -> Any:  # noqa: ANN401 - whatever the function returns
    """Call what is named, such as `model.py:make` or `torchvision.models:resnet18(num_classes=10)`.

    Arguments are literals. Raises RequestError if it is not found, or raises something.
    """
    place, name = _split(text, what)
    function, arguments = _parsed(name, what)
    with _found_beside(place), plugin_errors(f"{what} {text}"):
        called = _get(place, function, what)
        if not callable(called):
            raise RequestError(f"{what} {text} is a {type(called).__name__}, not a function")
        return called(**arguments)


def get_named(text: str, what: str) -> Any:  # noqa: ANN401 - whatever is named
    """Return what is named. Raises RequestError if it is not found."""
    place, name = _split(text, what)
    with _found_beside(place), plugin_errors(f"{what} {text}"):
        return _get(place, name, what)


def _split(text: str, what: str) -> tuple[str, str]:
    """Return the file or module, and the name in it."""
    before, file, after = text.partition(".py:")
    place, _, name = (f"{before}.py", ":", after) if file else text.partition(":")
    if not place or not name:
        raise RequestError(
            f"{what} {text} is not known: write FILE.py:function or module:function, such as "
            "torchvision.models:resnet18(num_classes=10)"
        )
    return place, name


def _parsed(name: str, what: str) -> tuple[str, dict[str, Any]]:
    """Return the name of a function and its arguments."""
    try:
        tree = ast.parse(name, mode="eval").body
        if not isinstance(tree, ast.Call):
            return name, {}
        if tree.args:
            raise ValueError("its arguments need names, such as num_classes=10")
        return ast.unparse(tree.func), {str(k.arg): ast.literal_eval(k.value) for k in tree.keywords}
    except (SyntaxError, ValueError) as error:
        raise RequestError(f"{what} {name} cannot be called: {error}") from error


def _get(place: str, name: str, what: str) -> Any:  # noqa: ANN401 - whatever is named
    found: Any = _imported_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    for part in name.split("."):
        if not hasattr(found, part):
            raise RequestError(f"{what}: there is no {name} in {place}")
        found = getattr(found, part)
    return found


def _imported_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise RequestError(f"no file at {path}")
    spec = importlib.util.spec_from_file_location(f"_named_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@contextmanager
def _found_beside(place: str) -> Iterator[None]:
    """Let modules be found beside a file, or in the working folder."""
    folder = str(Path(place).resolve().parent) if place.endswith(".py") else str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
