"""A digest of what code does: not of comments, docstrings, layout, imports or the version of Python."""

import ast
import hashlib
import json
from functools import cache
from importlib.util import decode_source
from pathlib import Path

from plastibench.plugins.imports import is_type_checking

HASH_VERSION = 2
"""Raised whenever the digest of unchanged code changes: it makes every run a new one."""

IGNORED = ("ctx", "kind", "type_comment", "type_ignores")
"""Parts of a syntax tree that change nothing, or that only some versions of Python have."""


def digest(source: str | ast.Module) -> str:
    """Return 16 hexadecimal digits for a module's source. Raises SyntaxError."""
    tree = ast.parse(source) if isinstance(source, str) else source
    shape = json.dumps([HASH_VERSION, _shape(tree, _aliases(tree))], sort_keys=True)
    return hashlib.sha256(shape.encode()).hexdigest()[:16]


def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a file, parsed once until the file changes. Raises OSError or SyntaxError."""
    stats = path.stat()
    return _parse(path, stats.st_mtime_ns, stats.st_size)


def file_digest(path: Path) -> str:
    """Return the digest of a file, computed once until the file changes. Raises OSError or SyntaxError."""
    stats = path.stat()
    return _file_digest(path, stats.st_mtime_ns, stats.st_size)


def parse_source(source: bytes, filename: str) -> ast.Module:
    """Return the syntax tree of a file's content, decoded as Python does. Raises SyntaxError."""
    try:
        decode_source(source)  # ast.parse accepts any bytes in comments
        return ast.parse(source, filename=filename)
    except (SyntaxError, ValueError) as error:
        if getattr(error, "lineno", None):
            raise
        position = getattr(error, "start", source.find(b"\0"))  # null bytes, or another encoding
        line = source[: max(position, 0)].count(b"\n") + 1
        raise SyntaxError(getattr(error, "msg", str(error)), (filename, line, None, None)) from error


@cache
def _parse(path: Path, mtime_ns: int, size: int) -> ast.Module:
    return parse_source(path.read_bytes(), str(path))


@cache
def _file_digest(path: Path, mtime_ns: int, size: int) -> str:
    return digest(_parse(path, mtime_ns, size))


def _aliases(tree: ast.Module) -> dict[str, str]:
    """Return the names that imports give to things, with the things' own names."""
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))
    return {alias.asname: alias.name for node in imports for alias in node.names if alias.asname}


def _shape(node: object, aliases: dict[str, str]) -> object:
    """Return a syntax tree as plain lists, without what is empty: newer Pythons add empty parts."""
    if isinstance(node, ast.Name):
        node = ast.Name(aliases.get(node.id, node.id))
    if isinstance(node, ast.AST):
        fields = {k: _shape(_relevant(v), aliases) for k, v in ast.iter_fields(node) if k not in IGNORED}
        return [
            type(node).__name__,
            {name: value for name, value in fields.items() if value not in (None, [])},
        ]
    if isinstance(node, list):
        return [_shape(item, aliases) for item in node]
    return None if node is None else f"{type(node).__name__} {node!r}"


def _relevant(value: object) -> object:
    """Return a list of statements without docstrings and imports."""
    return [node for node in value if not _is_irrelevant(node)] if isinstance(value, list) else value


def _is_irrelevant(node: object) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case ast.If(orelse=[]):
            return is_type_checking(node)
    return False
