"""The source of plug-ins, kept beside what was executed with them, so that it outlives their files."""

import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from plastibench.errors import RequestError
from plastibench.plugins.plugin import Plugin
from plastibench.plugins.source import Source
from plastibench.system.files import write_atomic

PLUGINS_FILE = "plugins.zip"
"""In the folder of a run, beside its description."""
_INDEX = "plugins.json"


def write_plugins(path: Path, plugins: Sequence[Plugin], *, sync: bool = True) -> None:
    """Write the source of plug-ins that are not shipped, if there are any."""
    if plugins:
        write_atomic(path, _pack(tuple(plugins)), sync=sync)


def read_plugins(path: Path) -> list[Plugin]:
    """Read plug-ins, of which nothing is executed or unpacked; none if there is no file.

    Raises RequestError for a damaged file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return list(_plugins(path, archive))
    except FileNotFoundError:
        return []
    except (OSError, zipfile.BadZipFile, zlib.error, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise RequestError(f"the kept source {path} is damaged: {error}") from error


@lru_cache(maxsize=16)
def _pack(plugins: tuple[Plugin, ...]) -> bytes:
    """Return an archive with a folder for each plug-in, the same bytes for the same files."""
    stream, index = io.BytesIO(), []
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for plugin in plugins:
            source = plugin.own_source()
            assert source is not None
            entry = {"kind": plugin.kind, "name": plugin.name}
            index.append({**entry, "module": source.module, "attribute": source.attribute})
            for file, content in sorted(source.files.items()):
                archive.writestr(zipfile.ZipInfo(f"{plugin.kind}/{plugin.name}/{file}"), content)
        archive.writestr(zipfile.ZipInfo(_INDEX), json.dumps(index, indent=1))
    return stream.getvalue()


def _plugins(path: Path, archive: zipfile.ZipFile) -> Iterator[Plugin]:
    for entry in json.loads(archive.read(_INDEX)):
        kind, name, module, attribute = (str(entry[key]) for key in ("kind", "name", "module", "attribute"))
        folder = f"{kind}/{name}/"
        files = {
            member.removeprefix(folder): archive.read(member)
            for member in archive.namelist()
            if member.startswith(folder)
        }
        yield Plugin(kind, name, source=Source(module, files, path / kind / name, attribute))
