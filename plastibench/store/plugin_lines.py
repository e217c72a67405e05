"""Plug-ins as plain values, for a line of a records file; people can read their source in it."""

import base64
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from plastibench.plugins.plugin import KINDS, Plugin
from plastibench.plugins.source import Source
from plastibench.store.record_rules import check_texts

MODULES = (".py", ".so", ".pyd")
"""Suffixes of files that are modules, on any system; of compiled ones only the digest is kept."""
PluginKey = tuple[str, str, str]
"""Kind, name and digest of the code."""


def to_plain(key: PluginKey, plugin: Plugin) -> dict[str, Any]:
    """Return a plug-in that is not shipped as plain values."""
    source = plugin.own_source()
    assert source is not None
    return {
        **dict(zip(("kind", "name", "code"), key, strict=True)),
        "module": source.module,
        "attribute": source.attribute,
        "files": {file: _to_text(content) for file, content in sorted(source.files.items())},
    }


def from_plain(fields: Mapping[str, Any], path: Path) -> tuple[PluginKey, Plugin]:
    """Return a plug-in, of which nothing is executed, with its key; `path` is where the line was read.

    Raises ValueError, KeyError or TypeError if the values are not those of a plug-in.
    """
    kind, name, code, module, attribute = (
        _text(fields[key]) for key in ("kind", "name", "code", "module", "attribute")
    )
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of plug-in ({', '.join(KINDS)})")
    check_texts([name, code, module, attribute])
    files = {_checked(file): _to_bytes(content) for file, content in fields["files"].items()}
    return (kind, name, code), Plugin(kind, name, source=Source(module, files, path / kind / name, attribute))


def _checked(file: str) -> str:
    """Return the path of a module below a folder. Raises ValueError for any other."""
    path = PurePosixPath(file)
    strange = path.is_absolute() or ".." in path.parts or path.as_posix() != file or set(file) & set("\\:")
    if strange or not file.isprintable() or path.suffix not in MODULES:
        raise ValueError(f"{ascii(file)[:80]} is no path of a module below the plug-in's folder")
    return file


def _to_text(content: bytes) -> str | dict[str, str]:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _to_bytes(content: object) -> bytes:
    if isinstance(content, dict):
        return base64.b64decode(_text(content["base64"]), validate=True)
    return _text(content).encode()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text"[:80])
    return value
