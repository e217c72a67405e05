"""A method as its user names it: by name, `name:preset`, class or instance."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from plastibench.errors import RequestError, unknown
from plastibench.plugins.contract import check_class
from plastibench.plugins.fields import with_settings
from plastibench.plugins.method import Method
from plastibench.plugins.plugin import plugin_errors
from plastibench.plugins.registry import Registry

MethodName = str | type[Method] | Method


def make_method(method: MethodName, settings: Mapping[str, Any]) -> Method:
    """Return a new instance, without state. Raises RequestError for an unknown name or setting."""
    if isinstance(method, str):
        return named(_registry(), method, settings)
    if isinstance(method, Method):
        return with_settings(replace(method), settings)
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise RequestError(f"{method!r} is no method: give a name, or a class or an instance of Method")
    return _instance(method, {}, settings)


def named(registry: Registry, text: str, settings: Mapping[str, Any]) -> Method:
    """Return the method that `name` or `name:preset` names."""
    name, colon, preset = text.partition(":")
    cls = registry.load("method", name)
    if colon and preset not in cls.presets:
        raise unknown(f"preset of {name}", preset, cls.presets)
    return _instance(cls, cls.presets.get(preset, {}), settings)


def _instance(cls: type[Method], preset: Mapping[str, Any], settings: Mapping[str, Any]) -> Method:
    if "__dataclass_fields__" not in vars(cls):
        raise RequestError(f"{cls.__name__} lacks @dataclass above the class")
    check_class(cls, Method)  # type: ignore[arg-type]  # a class can be a key
    with plugin_errors(f"method {cls.__name__}"):
        cls.check_contract()
        return with_settings(cls(**preset), settings)


@cache
def _registry() -> Registry:
    return Registry()
