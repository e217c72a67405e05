"""Messages between a process with runs and the one that mirrors them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class MirrorAlive:
    """The mirror works; its next message comes within `timeout` seconds."""

    timeout: float


@dataclass(frozen=True)
class MirrorFailed:
    """MLflow cannot be written."""

    reason: str


@dataclass(frozen=True)
class MirrorDone:
    """All is written, and the process ends."""

    num_added: int
    """Finished runs or trials."""
    links: Mapping[str, str]
    """The page's address behind the server's, by leaderboard."""


@dataclass(frozen=True)
class StopMirror:
    """Write what is left, and end."""

    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """To attach: by leaderboard and name."""
