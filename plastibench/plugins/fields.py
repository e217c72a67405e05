"""Settings are dataclass fields: the type says which values are allowed, the metadata within which bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, Self, TypeVar, get_type_hints

from plastibench.errors import RequestError, unknown
from plastibench.plugins.values import ValueType, show, value_types

T = TypeVar("T")

Bounds = tuple[float | None, float | None]
"""Smallest and largest value allowed; None is unbounded."""


@dataclass(frozen=True)
class Range:
    """The range in which a tuning searches."""

    low: float
    high: float
    log: bool = False
    """Search on a logarithmic scale."""


def tune(default: T, low: float, high: float, *, log: bool = False, within: Bounds = (None, None)) -> T:
    """Declare a hyperparameter: its published value, the range to search, the bounds of any value."""
    return field(default=default, metadata={"setting": {"range": Range(low, high, log), "within": within}})


def setting(
    default: T = MISSING,  # type: ignore[assignment]  # a setting without a default must be given
    *,
    within: Bounds = (None, None),
    only: tuple[str, str] | None = None,
) -> T:
    """Declare a setting that is not searched, with its bounds.

    `only` is the (setting, value) with which it has a meaning: otherwise it must keep its default, so that
    runs that do not differ have the same id.
    """
    return field(default=default, metadata={"setting": {"within": within, "only": only}})


class Settings:
    """A dataclass whose init fields are settings, checked whenever an instance is made."""

    def __post_init__(self) -> None:
        """Raise RequestError for a value of the wrong type, out of bounds, or without a meaning."""
        values = settings_of(self)
        for name, declared in _declared(type(self)).items():
            declared.check(values[name])
            declared.check_meaning(values)

    @classmethod
    def parse(cls, texts: Mapping[str, str]) -> Self:
        """Return an instance with some settings read from text; the others have their defaults.

        Raises RequestError if a setting without a default is missing.
        """
        for one in _declared(cls).values():
            if one.default is MISSING and one.name not in texts:
                raise RequestError(f"{cls.__name__} needs {one.name}=...: {one.name} is {one.allowed}")
        with _checks():
            return cls(**_parse(cls, texts))

    def from_strings(self, texts: Mapping[str, str], **nested: Settings) -> Self:
        """Return a copy with some settings read from text, as on a command line, and with nested settings.

        All are applied before any is checked, since some are allowed only together.
        """
        with _checks():
            return replace(self, **_parse(type(self), texts), **nested)  # type: ignore[type-var]  # a dataclass


def settings_of(instance: Settings) -> dict[str, Any]:
    """Return the settings of an instance by name, without nested settings."""
    return {name: getattr(instance, name) for name in _declared(type(instance))}


def setting_names(cls: type[Settings]) -> list[str]:
    """Return the names of the settings of a class, without nested settings."""
    return list(_declared(cls))


def search_space(cls: type[Settings]) -> dict[str, Range]:
    """Return the ranges to search, by the name of the setting."""
    return {name: one.range for name, one in _declared(cls).items() if one.range is not None}


def own_choices(cls: type[Settings]) -> dict[str, dict[str, Any]]:
    """Return the values by their text of each setting with finitely many that the class declares itself."""
    choices = {
        name: {text: value for type_ in one.types for text, value in type_.choices.items()}
        for name, one in _declared(cls).items()
        if name in vars(cls).get("__annotations__", {})
    }
    return {name: values for name, values in choices.items() if values}


def describe(cls: type[Settings]) -> Iterator[tuple[str, str, str]]:
    """Yield (name, default, what is allowed) for each setting."""
    for name, one in _declared(cls).items():
        yield name, "required" if one.default is MISSING else show(one.default) or "empty", one.allowed


@dataclass(frozen=True)
class _Setting:
    """The declaration of one setting."""

    name: str
    default: Any
    types: tuple[ValueType, ...]
    within: Bounds = (None, None)
    only: tuple[str, str] | None = None
    range: Range | None = None

    @property
    def allowed(self) -> str:
        """Return which values are allowed, as the end of a sentence."""
        bounds = _bounds_text(*self.within)
        text = " or ".join(type_.allowed + (bounds if type_.is_number else "") for type_ in self.types)
        return text if self.only is None else f"{text}, with {self.only[0]}={self.only[1]} only"

    def parse(self, text: str) -> object:
        """Return the value that a text means. Raises RequestError if there is none."""
        for type_ in self.types:
            try:
                return type_.parse(text)
            except (ValueError, KeyError):
                continue
        raise self._not_allowed(text)

    def check(self, value: object) -> None:
        """Raise RequestError for a value of the wrong type or out of bounds."""
        low, high = self.within
        fits = any(type_.accepts(value) for type_ in self.types)
        if fits and isinstance(value, int | float) and not isinstance(value, bool):
            fits = math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)
        if not fits:
            raise self._not_allowed(value)

    def check_meaning(self, values: Mapping[str, Any]) -> None:
        """Raise RequestError for a value that another setting makes meaningless."""
        if self.only is None or values[self.only[0]] == self.only[1] or values[self.name] == self.default:
            return
        name, needed = self.only
        raise RequestError(
            f"{self.name}={show(values[self.name])} means nothing with {name}={show(values[name])}: "
            f"leave it out, or set {name}={needed}"
        )

    def _not_allowed(self, value: object) -> RequestError:
        given = value if isinstance(value, str) else show(value)
        return RequestError(f"{self.name}={given} is not allowed: {self.name} is {self.allowed}")


def _bounds_text(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {show(low)} to {show(high)}"
    if low is not None:
        return f" of at least {show(low)}"
    return "" if high is None else f" of at most {show(high)}"


_declarations: dict[type, dict[str, _Setting]] = {}


def _declared(cls: type) -> dict[str, _Setting]:
    """Return the declarations of a class's settings by name, nested settings left out."""
    if cls not in _declarations:
        _declarations[cls] = _read(cls)
    return _declarations[cls]


def _read(cls: type) -> dict[str, _Setting]:
    try:
        hints = get_type_hints(cls)
    except NameError as error:
        raise RequestError(
            f"{cls.__name__} declares a field of type {error.name}, which is not imported at run time: "
            "import it outside `if TYPE_CHECKING`"
        ) from error
    return {
        f.name: _Setting(f.name, f.default, value_types(hints[f.name]), **f.metadata.get("setting", {}))
        for f in fields(cls)
        if f.init and not (isinstance(hints[f.name], type) and issubclass(hints[f.name], Settings))
    }


def _setting(cls: type, name: str) -> _Setting:
    declared = _declared(cls)
    if name not in declared:
        raise unknown(f"setting of {cls.__name__}", name, declared)
    return declared[name]


def _parse(cls: type, texts: Mapping[str, str]) -> dict[str, Any]:
    return {name: _setting(cls, name).parse(text) for name, text in texts.items()}


@contextmanager
def _checks() -> Iterator[None]:
    """Turn the ValueError of a plug-in's own check of its settings into a RequestError."""
    try:
        yield
    except RequestError:
        raise
    except ValueError as error:
        raise RequestError(str(error)) from error
