"""An optimizer that is missing, or in which nobody can tell the parameters apart."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

from plastibench.errors import RequestError


class UnknownGroups(Optimizer):
    """An optimizer that is not given, or of which nobody knows which parameters it has.

    Its state can be cleared as a whole; all else is refused.
    """

    def __init__(self, reason: str, state: dict[Any, Any]) -> None:
        self._reason, self.state = reason, _StateToClear(reason, state)  # type: ignore[assignment]

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Refuse."""
        raise RequestError(self._reason)


class _StateToClear(dict[Any, Any]):
    """A state that can be cleared, and not be looked into."""

    def __init__(self, reason: str, state: dict[Any, Any]) -> None:
        super().__init__()
        self._reason, self._state = reason, state

    def clear(self) -> None:
        self._state.clear()

    def get(self, key: object, default: object = None) -> object:
        if not self._state:  # there is nothing
            return default
        raise RequestError(self._reason)

    def pop(self, key: object, default: object = None) -> object:
        return self.get(key, default)
