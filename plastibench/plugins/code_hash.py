"""A digest of what code does: comments, docstrings and layout do not count, nor does the Python version."""

from __future__ import annotations

import ast
import hashlib
import json

IGNORED = ("ctx", "kind", "type_comment", "type_ignores")
"""Parts of a syntax tree that change nothing, or that only some versions of Python have."""


def digest(source: str) -> str:
    """Return 16 hexadecimal digits for a module's source. Raises SyntaxError."""
    shape = json.dumps(_shape(ast.parse(source)), sort_keys=True)
    return hashlib.sha256(shape.encode()).hexdigest()[:16]


def _shape(node: object) -> object:
    """Return a syntax tree as plain lists, without what is empty: newer Pythons add empty parts."""
    if isinstance(node, ast.AST):
        fields = {name: _shape(_real(value)) for name, value in ast.iter_fields(node) if name not in IGNORED}
        return [
            type(node).__name__,
            {name: value for name, value in fields.items() if value not in (None, [])},
        ]
    if isinstance(node, list):
        return [_shape(item) for item in node]
    return None if node is None else f"{type(node).__name__} {node!r}"


def _real(value: object) -> object:
    """Return a list of statements without those that are a constant alone: docstrings."""
    if not isinstance(value, list):
        return value
    return [
        line for line in value if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
    ]
