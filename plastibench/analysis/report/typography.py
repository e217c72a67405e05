"""Texts of tables as a page sets them: real signs, and spreads and intervals less loud than means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

MINUS = re.compile(r"(?<![\w.=-])-(?=\d)")
REST = re.compile(r" (?=[\[(\u00b1])")


def typeset(text: str) -> str:
    """Return a text with plus-minus and minus signs in place of the keyboard's."""
    return MINUS.sub("\N{MINUS SIGN}", text.replace("+-", "\N{PLUS-MINUS SIGN}"))


def parted(text: str) -> Markup:
    """Return a cell with its spread or interval, what follows the number, marked as less than the number."""
    from markupsafe import Markup

    first, *rest = REST.split(typeset(text), maxsplit=1)
    return Markup("{}<small> {}</small>").format(first, rest[0]) if rest else Markup("{}").format(first)


def breakable(name: str) -> Markup:
    """Return a name that may go on in the next line after an underscore, where a column is narrow."""
    from markupsafe import Markup

    return Markup("_<wbr>").join(name.split("_"))
