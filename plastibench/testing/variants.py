"""The settings of a method over which its laws should hold."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from plastibench.plugins.fields import own_choices, settings_of
from plastibench.plugins.method import Method


def variants(cls: type[Method]) -> dict[str, Callable[[], Method]]:
    """Return makers of a method by the name of what is set, each set of settings once.

    They are "defaults", "active" (settings at which the method acts within a few steps), each preset, and
    "setting=choice" for every other choice that the class declares itself: state that a method keeps under
    one setting alone is seen under that setting alone.
    """
    makers: dict[str, Callable[[], Method]] = {}
    known: list[dict[str, Any]] = []
    for name, values in _settings(cls):
        maker = partial(cls, **values)
        try:
            settings = settings_of(maker())
        except ValueError:  # a choice that is not allowed with the others
            continue
        if settings not in known:
            known.append(settings)
            makers[name] = maker
    return makers


def _settings(cls: type[Method]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "defaults", {}
    yield "active", dict(cls.active)
    for preset, values in cls.presets.items():
        yield preset, dict(values)
    for setting, choices in own_choices(cls).items():
        for text, value in choices.items():
            yield f"{setting}={text}", {**cls.active, setting: value}
