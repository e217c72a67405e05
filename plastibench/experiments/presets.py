"""What a method's settings are called: by its name alone, or by the name of a preset."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from plastibench.errors import RequestError
from plastibench.experiments.spec import Part
from plastibench.plugins.fields import settings_of
from plastibench.plugins.plugin import KINDS
from plastibench.plugins.read_settings import read_settings
from plastibench.plugins.registry import Registry
from plastibench.plugins.values import to_json


def preset_label(method: Part) -> str | None:
    """Return NAME if all settings are the defaults, NAME:PRESET if they are a preset's, otherwise None.

    The presets are those of the installed method, which is imported; None if there is no such method.
    """
    return next(
        (label for label, settings in _known(method.name).items() if settings == dict(method.settings)), None
    )


def is_called(method: Part, given: str) -> bool:
    """Return whether a method is called NAME, with settings that no preset has, or NAME:PRESET.

    Of a method that is not installed the presets are unknown, and the name decides.
    """
    name, _, preset = given.partition(":")
    if name != method.name or not _known(name):
        return name == method.name
    if preset:
        return _known(name).get(given) == dict(method.settings)
    return preset_label(method) in (None, name)


def has_preset_values(method: Part) -> bool:
    """Return whether a method has the values that one of its presets names, as far as its source says.

    Nothing is imported, so a table of default settings needs no PyTorch.
    """
    return any(
        values and all(method.settings.get(name) == to_json(value) for name, value in values.items())
        for values in _declared_presets(method.name).values()
    )


@cache
def _declared_presets(name: str) -> Mapping[str, Mapping[str, Any]]:
    with suppress(RequestError, OSError, SyntaxError):
        found = read_settings(Registry().get("method", name).tree(), KINDS["method"].contract)
        return found.presets if found is not None else {}
    return {}


@cache
def _known(name: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the settings that have a name, by that name; the defaults come first."""
    try:
        cls = Registry().load("method", name)
    except RequestError:  # a plug-in of somebody else
        return {}
    presets = {f"{name}:{preset}": values for preset, values in cls.presets.items()}
    return {label: settings_of(cls(**values)) for label, values in {name: {}, **presets}.items()}
