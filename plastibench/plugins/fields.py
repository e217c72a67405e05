"""Settings are dataclass fields: their type says what is allowed, their metadata within which bounds."""

from __future__ import annotations

import math
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Literal, Self, TypeVar, Union, get_args, get_origin

from plastibench.errors import RequestError, unknown

T = TypeVar("T")

Value = bool | int | float | str | None | tuple[int, ...]
"""What a setting can hold; all of it survives a round trip through JSON (a tuple as a list)."""


@dataclass(frozen=True)
class Range:
    """Where a search looks for a better value."""

    low: float
    high: float
    log: bool = False
    """Search evenly on a logarithmic scale."""


Bounds = tuple[float | None, float | None]
"""Smallest and largest value allowed; None is unbounded."""


def tune(default: T, low: float, high: float, *, log: bool = False, within: Bounds = (None, None)) -> T:
    """Declare a hyperparameter: its published value, the range to search, the values allowed at all."""
    search = Range(low, high, log)
    made: Any = field(default=default, metadata={"range": search, "within": within})
    return made  # type: ignore[no-any-return]  # as dataclasses.field does: the field stands for its value


def setting(default: T, *, within: Bounds = (None, None), only: tuple[str, str] | None = None) -> T:
    """Declare a setting that is not searched, with the values allowed.

    `only` is the (setting, value) under which it means anything: elsewhere it keeps its default,
    so that runs which do not differ do not have different ids either.
    """
    made: Any = field(default=default, metadata={"within": within, "only": only})
    return made  # type: ignore[no-any-return]


class Settings:
    """A dataclass whose init fields are settings; they are checked whenever one is made."""

    def __post_init__(self) -> None:
        """Raise RequestError for a value of the wrong type, out of bounds, or without a meaning."""
        values = settings_of(self)
        for name, value in values.items():
            declared = _field(type(self), name)
            _check(type(self), declared, value)
            _check_meaning(declared, values)

    def from_strings(self, texts: Mapping[str, str]) -> Self:
        """Return a copy with some settings read from text, as on a command line.

        All are applied before any is checked, since some are allowed only together.
        """
        values = {}
        for name, text in texts.items():
            declared = _field(type(self), name)
            values[name] = _parse(_annotation(type(self), declared), text)
            if values[name] is _UNREADABLE:
                raise _wrong(name, text, _allowed(type(self), declared))
        try:
            return replace(self, **values)  # type: ignore[type-var]  # every Settings is a dataclass
        except RequestError:
            raise
        except ValueError as error:
            # A plug-in's own check of settings that are not allowed together.
            raise RequestError(str(error)) from error

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with some settings replaced, as read from JSON or TOML."""
        known = settings_of(self)
        for name in values:
            if name not in known:
                raise unknown(f"setting of {type(self).__name__}", name, known)
        plain = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return replace(self, **plain)  # type: ignore[type-var]


def settings_of(thing: Settings) -> dict[str, Any]:
    """Return the settings of an instance by name: its init fields, nested settings left out."""
    found = {f.name: getattr(thing, f.name) for f in _declared(type(thing))}
    return {name: value for name, value in found.items() if not isinstance(value, Settings)}


def search_space(kind: type[Settings]) -> dict[str, Range]:
    """Return the ranges to search, by the name of the setting."""
    return {f.name: f.metadata["range"] for f in _declared(kind) if "range" in f.metadata}


def defaults(kind: type[Settings]) -> dict[str, Any]:
    """Return the default of every setting that has one."""
    return {f.name: f.default for f in _declared(kind) if not isinstance(f.default, type(_MISSING))}


def describe(kind: type[Settings]) -> Iterator[tuple[str, str, str]]:
    """Yield (name, default, what is allowed) for each setting."""
    for declared in _declared(kind):
        default = "" if isinstance(declared.default, type(_MISSING)) else show(declared.default)
        yield declared.name, default, _allowed(kind, declared)


def show(value: object) -> str:
    """Return a setting's value as a person would type it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    return str(value)


_MISSING = field().default
_UNREADABLE = object()
_WORDS: dict[str, bool] = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


def _declared(kind: type) -> list[Field[Any]]:
    return [f for f in fields(kind) if f.init]


def _field(kind: type, name: str) -> Field[Any]:
    found = {f.name: f for f in _declared(kind)}
    if name not in found:
        raise unknown(f"setting of {kind.__name__}", name, found)
    return found[name]


def _annotation(kind: type, declared: Field[Any]) -> Any:  # noqa: ANN401 - a type form has no type
    """Evaluate a field's annotation in the module of the class that wrote it."""
    if not isinstance(declared.type, str):
        return declared.type
    for owner in kind.__mro__:
        if declared.name in vars(owner).get("__annotations__", {}):
            # The text is source code of a class that has been imported, not input.
            return eval(declared.type, vars(sys.modules[owner.__module__]))
    raise AssertionError(f"{kind.__name__}.{declared.name} has no annotation")


def _options(annotation: Any) -> list[Any]:  # noqa: ANN401
    if get_origin(annotation) in (Union, types.UnionType):
        return list(get_args(annotation))
    return [annotation]


def _parse(annotation: Any, text: str) -> Any:  # noqa: ANN401
    for option in _options(annotation):
        value = _parse_one(option, text)
        if value is not _UNREADABLE:
            return value
    return _UNREADABLE


def _parse_one(option: Any, text: str) -> Any:  # noqa: ANN401
    if option is type(None):
        return None if text.lower() == "none" else _UNREADABLE
    if get_origin(option) is Literal:
        return next((value for value in get_args(option) if str(value) == text), _UNREADABLE)
    if option is bool:
        return _WORDS.get(text.lower(), _UNREADABLE)
    try:
        if get_origin(option) is tuple:
            return tuple(int(part) for part in text.split(",") if part.strip())
        return option(text)
    except ValueError:
        return _UNREADABLE


def _check(kind: type, declared: Field[Any], value: object) -> None:
    annotation = _annotation(kind, declared)
    low, high = declared.metadata.get("within", (None, None))
    fits = any(_is(option, value) for option in _options(annotation))
    if fits and isinstance(value, (int, float)) and not isinstance(value, bool):
        fits = math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)
    if not fits:
        raise _wrong(declared.name, value, _allowed(kind, declared))


def _check_meaning(declared: Field[Any], values: Mapping[str, Any]) -> None:
    only = declared.metadata.get("only")
    if only is None or values[only[0]] == only[1] or values[declared.name] == declared.default:
        return
    given, other = show(values[declared.name]), show(values[only[0]])
    raise RequestError(
        f"{declared.name}={given} means nothing with {only[0]}={other}: "
        f"leave it out, or set {only[0]}={only[1]}"
    )


def _is(option: Any, value: object) -> bool:  # noqa: ANN401
    if get_origin(option) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(option))
    if get_origin(option) is tuple:
        return isinstance(value, tuple) and all(type(item) is int for item in value)
    if option is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is option


def _allowed(kind: type, declared: Field[Any]) -> str:
    low, high = declared.metadata.get("within", (None, None))
    words = [_allowed_one(option) for option in _options(_annotation(kind, declared))]
    sentence = " or ".join(words)
    if low is not None or high is not None:
        sentence += (
            f" from {show(low) if low is not None else '-inf'} to {show(high) if high is not None else 'inf'}"
        )
    only = declared.metadata.get("only")
    return sentence if only is None else f"{sentence}, with {only[0]}={only[1]} alone"


def _allowed_one(option: Any) -> str:  # noqa: ANN401
    if option is type(None):
        return "none"
    if get_origin(option) is Literal:
        return " or ".join(show(value) for value in get_args(option))
    if get_origin(option) is tuple:
        return "whole numbers separated by commas"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names.get(option, str(option))


def _wrong(name: str, value: object, allowed: str) -> RequestError:
    given = value if isinstance(value, str) else show(value)
    return RequestError(f"{name}={given} is not allowed: {name} is {allowed}")
