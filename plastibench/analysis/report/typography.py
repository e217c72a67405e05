"""Typography of texts on the page: minus signs, line breaks, and spreads less prominent than means."""

from __future__ import annotations

import re

from markupsafe import Markup

MINUS = re.compile(r"(?<![\w.=-])-(?=\d)")
SPREAD = re.compile(r" (?=[\[(\u00b1])")


def typeset(text: str) -> str:
    """Return a text with plus-minus and minus signs instead of the keyboard's."""
    return MINUS.sub("\N{MINUS SIGN}", text.replace("+-", "\N{PLUS-MINUS SIGN}"))


def dim_spread(text: str) -> Markup:
    """Return the text of a cell with its standard deviation or interval in small print."""
    number, *spread = SPREAD.split(typeset(text), maxsplit=1)
    return Markup("{}").format(number) + (Markup("<small> {}</small>").format(*spread) if spread else "")


def allow_breaks(name: str) -> Markup:
    """Return a name that may be broken after each underscore."""
    return Markup("_<wbr>").join(name.split("_"))
