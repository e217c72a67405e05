"""Ways to damage a file, and a URL that nothing answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

Damage = Callable[[bytes], bytes]
NOWHERE = "http://127.0.0.1:9/"


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


damages = pytest.mark.parametrize("damage", [flipped, truncated])


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()
