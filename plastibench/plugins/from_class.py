"""The plug-in of a class that is given beside names: of a shipped file, a module, a script or a cell."""

import inspect
import re
import sys
from pathlib import Path

from plastibench.errors import RequestError
from plastibench.plugins import discovery
from plastibench.plugins.main_code import MAIN, MainCode
from plastibench.plugins.own_file import OwnFile
from plastibench.plugins.plugin import KINDS, Plugin, classes_of
from plastibench.plugins.registry import Registry
from plastibench.plugins.source import Source, imports_of


def plugin_of(kind: str, cls: type, registry: Registry) -> Plugin:
    """Return the plug-in of a class: one of the registry, or a new one with the source of the class.

    Its name is that of the class in small letters, `my_idea` for `MyIdea`; if it is the only plug-in of a
    file, that of the file. Raises RequestError for a class of another kind, and for one whose source is not
    known or uses what cannot be taken along.
    """
    base = KINDS[kind].base_class()
    if not issubclass(cls, base):
        raise RequestError(f"class {cls.__name__} is no {kind}: it must extend {base.__name__}")
    known = registry.defining(kind, cls)
    if known is not None:
        return known
    if "<locals>" in cls.__qualname__:
        raise RequestError(
            f"class {cls.__qualname__} is defined inside a function: define it at the top level, so that its "
            "source can be kept with its runs"
        )
    plugin = _of_main(kind, cls) if cls.__module__ == MAIN else _of_module(kind, cls)
    if plugin.name in registry.names(kind):
        raise RequestError(
            f"class {cls.__name__} would be {kind} {plugin.name}, which is in "
            f"{registry.get(kind, plugin.name).origin} already: rename the class"
        )
    plugin.load()
    return plugin


def plugin_name(cls: type) -> str:
    """Return the name of the plug-in of a class: `my_idea` for MyIdea, `l2_init` for L2Init."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()


def _of_main(kind: str, cls: type) -> Plugin:
    code = MainCode()
    own, name = OwnFile(cls, code), plugin_name(cls)
    text = own.text()
    if name in {imported.partition(".")[0] for imported in imports_of(f"{name}.py", text.encode())}:
        raise RequestError(
            f"class {cls.__name__} would be {kind} {name}, a module that it uses: rename the class"
        )
    attribute = cls.__name__ if own.num_classes(KINDS[kind].base_class()) > 1 else ""
    origin = f"class {cls.__name__}"
    return Plugin(kind, name, source=Source.of_text(name, text, code.folder, attribute, origin))


def _of_module(kind: str, cls: type) -> Plugin:
    """Return the plug-in of a class in a module that was imported from a file."""
    try:
        path = Path(inspect.getfile(cls))
    except (OSError, TypeError) as error:
        raise RequestError(f"the source of class {cls.__name__} is not known: {error}") from error
    bases = tuple(properties.base_class() for properties in KINDS.values())
    if [one for one in classes_of(sys.modules[cls.__module__]) if issubclass(one, bases)] == [cls]:
        return discovery.from_file(path)
    source = Source.of_file(path.resolve())
    return Plugin(
        kind, plugin_name(cls), source=Source(source.module, source.files, source.root, cls.__qualname__)
    )
