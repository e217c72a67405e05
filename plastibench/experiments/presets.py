"""What a method's settings are called: by its name alone, or by the name of a preset."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from plastibench.errors import RequestError
from plastibench.experiments.spec import Part
from plastibench.plugins.fields import settings_of
from plastibench.plugins.registry import Registry


def preset_label(method: Part) -> str | None:
    """Return NAME if all settings are the defaults, NAME:PRESET if they are a preset's, otherwise None.

    The presets are those of the installed method, which is imported; None if there is no such method.
    """
    return next(
        (label for label, settings in _known(method.name).items() if settings == dict(method.settings)), None
    )


@cache
def _known(name: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the settings that have a name, by that name; the defaults come first."""
    try:
        cls = Registry().load("method", name)
    except RequestError:  # a plug-in of somebody else
        return {}
    presets = {f"{name}:{preset}": values for preset, values in cls.presets.items()}
    return {label: settings_of(cls(**values)) for label, values in {name: {}, **presets}.items()}
