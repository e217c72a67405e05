"""What a plug-in declares, read from its source without importing it: a shell completes words at once."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from plastibench.plugins.code_hash import parse

PACKAGE = __name__.partition(".")[0]
SETTINGS = "Settings"
"""The class that all plug-ins with settings extend."""
TRUTH = ("true", "false")


@dataclass(frozen=True)
class Declared:
    """What a class with settings declares, with what it inherits."""

    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The values of each setting that has few, by the setting's name; of others none."""
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The values that each preset changes, by its name; of values that are computed none."""
    constants: Mapping[str, str] = field(default_factory=dict)
    """Texts in the class's body, such as the name of a task's default model."""


def read_settings(tree: ast.Module, contract: str) -> Declared | None:
    """Return what the class in a module declares that extends a contract, `module:class`, or None."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            chain = list(_chain(node, tree))
            if any(cls.name == contract.partition(":")[2] for cls, _ in chain[1:]):
                return _declared(chain)
    return None


def read_class(name: str) -> Declared:
    """Return what a class of the package declares, given as `module:class`."""
    module, _, cls = name.partition(":")
    found = _find(cls, _tree(module))
    return Declared() if found is None else _declared(list(_chain(*found)))


def _declared(chain: list[tuple[ast.ClassDef, ast.Module]]) -> Declared:
    settings: dict[str, tuple[str, ...]] = {}
    presets: dict[str, Mapping[str, Any]] = {}
    constants: dict[str, str] = {}
    for cls, tree in reversed(chain):
        for name, annotation, value in _assignments(cls):
            if name == "presets" and isinstance(value, ast.Dict):
                presets = {key: _literals(of_preset) for key, of_preset in _items(value)}
            elif annotation is not None and _is_setting(annotation, value, tree):
                settings[name] = _choices(annotation, tree)
            elif isinstance(value, ast.Constant) and isinstance(value.value, str):
                constants[name] = value.value
    return Declared(settings, presets, constants)


def _items(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Yield the items of a dictionary's text whose keys are constants."""
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant):
                yield str(key.value), value


def _literals(node: ast.expr) -> dict[str, Any]:
    """Return the items of a dictionary's text whose values are literals."""
    found: dict[str, Any] = {}
    for name, value in _items(node):
        with suppress(ValueError):
            found[name] = ast.literal_eval(value)
    return found


def _assignments(cls: ast.ClassDef) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    """Yield the name, the annotation and the value of each assignment in a class's body."""
    for node in cls.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.annotation, node.value
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, None, node.value


def _is_setting(annotation: ast.expr, value: ast.expr | None, tree: ast.Module) -> bool:
    """Return whether an annotated name is an init field, and not nested settings."""
    if "ClassVar" in ast.unparse(annotation):
        return False
    keywords = value.keywords if isinstance(value, ast.Call) else []
    if any(word.arg == "init" and ast.unparse(word.value) == "False" for word in keywords):
        return False
    found = _find(annotation.id, tree) if isinstance(annotation, ast.Name) else None
    return found is None or not any(cls.name == SETTINGS for cls, _ in _chain(*found))


def _choices(annotation: ast.expr, tree: ast.Module) -> tuple[str, ...]:
    """Return the values of a type that has few: those of its literals, and of bool."""
    if isinstance(annotation, ast.Name):
        alias = _alias(annotation.id, tree)
        return TRUTH if annotation.id == "bool" else () if alias is None else _choices(*alias)
    if isinstance(annotation, ast.BinOp):
        return (*_choices(annotation.left, tree), *_choices(annotation.right, tree))
    if isinstance(annotation, ast.Constant) and annotation.value is None:
        return ("none",)
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Literal":
        items = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        return tuple(str(item.value) for item in items if isinstance(item, ast.Constant))
    return ()


def _chain(cls: ast.ClassDef, tree: ast.Module) -> Iterator[tuple[ast.ClassDef, ast.Module]]:
    """Yield a class and those that it extends, each with its module, as far as they are in the package."""
    yield cls, tree
    for base in cls.bases:
        found = _find(ast.unparse(base).partition("[")[0].rpartition(".")[2], tree)
        if found is not None and found[0] is not cls:
            yield from _chain(*found)


def _find(name: str, tree: ast.Module) -> tuple[ast.ClassDef, ast.Module] | None:
    """Return a class by the name that it has in a module, with the module that defines it."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node, tree
    origin = _import_of(name, tree)
    return None if origin is None else _find(*origin)


def _alias(name: str, tree: ast.Module) -> tuple[ast.expr, ast.Module] | None:
    """Return the type that a name stands for, with the module that says so."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return node.value, tree
    origin = _import_of(name, tree)
    return None if origin is None else _alias(*origin)


def _import_of(name: str, tree: ast.Module) -> tuple[str, ast.Module] | None:
    """Return the name and the module of the package that a name is imported from."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == PACKAGE:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return alias.name, _tree(node.module or "")
    return None


@cache
def _tree(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return parse(Path(spec.origin))
