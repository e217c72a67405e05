"""Groups of options, each of which reaches a command as one typed value."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar

Command = TypeVar("Command", bound=Callable[..., Any])
Option = Callable[[Any], Any]


def grouped(
    command: Command, groups: Mapping[str, Sequence[Option]], name: str, make: Callable[..., object]
) -> Command:
    """Add options under headings to a command, which gets `make` of their values under one name."""
    # Each option appends itself to the same list: the first one that is to be shown comes last.
    before = list(getattr(command, "__click_params__", ()))

    @wraps(command)
    def with_group(**values: Any) -> Any:  # noqa: ANN401 - whatever click parsed
        group = {key: values.pop(key) for key in keys}
        return command(**{name: make(**group)}, **values)

    params: list[Any] = []
    for heading, options in reversed(list(groups.items())):
        for option in reversed(options):
            option(with_group)
            params = with_group.__click_params__  # type: ignore[attr-defined]
            params[-1].heading = heading
    keys = [param.name for param in params[len(before) :]]
    return with_group  # type: ignore[return-value]
