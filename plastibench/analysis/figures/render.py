"""All figures of result tables, as files and as small SVG elements for the report's page."""

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from matplotlib import rc_context

from plastibench.analysis.figures.aggregate import aggregate_figures
from plastibench.analysis.figures.per_setting import setting_figures
from plastibench.analysis.figures.style import DARK, GRID, INK, PAPER, STYLE, FigureSpec
from plastibench.analysis.tables.table import ResultTable
from plastibench.console import Progress, no_progress
from plastibench.errors import RequestError, unknown, writing
from plastibench.system.files import write_atomic

FORMATS = ("svg", "pdf", "png")
METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}
"""Without dates and versions, so that the same figure gives the same bytes."""
PAGE_STYLE = {INK: "var(--ink)", PAPER: "var(--paper)", GRID: "var(--grid)", "'DejaVu Sans'": "var(--font)"}
GEOMETRY = ("d", "x", "y", "points", "transform")


def parse_formats(text: str) -> tuple[str, ...]:
    """Return the formats of a list such as "svg,pdf". Raises RequestError if one is unknown."""
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for name in names:
        if name not in FORMATS:
            raise unknown("figure format", name, FORMATS)
    if not names:
        raise RequestError(f"{text!r} holds no figure format (there are: {', '.join(FORMATS)})")
    return names


def all_figures(tables: Sequence[ResultTable]) -> Iterator[FigureSpec]:
    """Yield the figures of each setting, then those over all settings."""
    methods = sorted({row.method for table in tables for row in table.rows})
    for number, table in enumerate(tables, 1):
        yield from setting_figures(table, f"setting-{number}", methods)
    yield from aggregate_figures(tables, methods)


def render(figure: FigureSpec, format: str, *, dark: bool = False, text_as_paths: bool = True) -> bytes:
    """Return a figure as the bytes of a file; the same figure gives the same bytes."""
    style: Any = {
        **STYLE,
        "svg.fonttype": "path" if text_as_paths else "none",
        "svg.hashsalt": figure.name,  # figures of one page must not share ids
    }
    if dark:
        style = {
            name: DARK.get(value, value) if isinstance(value, str) else value for name, value in style.items()
        }
    out = io.BytesIO()
    with rc_context(style):
        figure.draw().savefig(out, format=format, dpi=200, metadata=METADATA[format])
    return out.getvalue()


def save_figures(
    tables: Sequence[ResultTable],
    folder: Path,
    formats: Sequence[str] = ("svg",),
    *,
    dark: bool = False,
    progress: Progress = no_progress,
) -> list[Path]:
    """Write every figure in every format, and return the files. Raises RequestError if that fails.

    With `dark` each figure is also written as NAME-dark, for a dark background.
    """
    todo = list(product(all_figures(tables), formats, (False, True) if dark else (False,)))
    files = []
    with writing(f"figures in {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        with progress(len(todo)) as advance:
            for figure, format, on_dark in todo:
                files.append(folder / f"{figure.name}{'-dark' if on_dark else ''}.{format}")
                write_atomic(files[-1], render(figure, format, dark=on_dark))
                advance(1)
    return files


def inline_svg(figure: FigureSpec) -> str:
    """Return a figure as a small <svg> element in the page's colors and font."""
    root = ElementTree.fromstring(render(figure, "svg", text_as_paths=False))
    for metadata in root.findall("{*}metadata"):
        root.remove(metadata)
    attributes = " ".join(value for element in root.iter() for value in element.attrib.values())
    ids = set(re.findall(r"#(\w+)", attributes))
    for element in root.iter():
        _slim(element, ids)
    _share_styles(root, prefix=re.sub(r"([a-z]{2})[a-z]+", r"\1", figure.name))
    view_box = root.attrib["viewBox"]
    width = float(view_box.split()[2])
    size = f"min-width: {0.9 * width:.0f}px; max-width: {1.5 * width:.0f}px"
    root.attrib = {"viewBox": view_box, "aria-hidden": "true", "style": size}
    return ElementTree.tostring(root, encoding="unicode")


def _slim(element: ElementTree.Element, ids: set[str]) -> None:
    """Leave out namespaces, indentation, ids that nothing refers to, and less than a tenth of a point."""
    element.tag = element.tag.rpartition("}")[2]
    element.text, element.tail = (
        text if text and text.strip() else None for text in (element.text, element.tail)
    )
    attributes = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
    if attributes.get("id") not in ids:
        attributes.pop("id", None)
    if attributes.get("transform", "").startswith("rotate(-0 "):
        del attributes["transform"]
    for name in attributes.keys() & GEOMETRY:
        short = re.sub(r"(\.\d)\d+", r"\1", attributes[name])
        attributes[name] = re.sub(r"\s*([A-Z])\s*", r"\1", short).strip()
    for value, variable in PAGE_STYLE.items():
        if "style" in attributes:
            attributes["style"] = attributes["style"].replace(value, variable)
    element.attrib = attributes


def _share_styles(root: ElementTree.Element, prefix: str) -> None:
    """Turn styles of several elements into classes: a thousand marks have few styles."""
    styles = Counter(element.attrib["style"] for element in root.iter() if "style" in element.attrib)
    classes = {style: f"{prefix}-{place}" for place, style in enumerate(styles) if styles[style] > 1}
    for element in root.iter():
        if element.get("style") in classes:
            element.set("class", classes[element.attrib.pop("style")])
    sheet = root.find("defs/style")
    assert sheet is not None, "matplotlib writes a style sheet"
    sheet.text = f"{sheet.text}{''.join(f'.{name}{{{style}}}' for style, name in classes.items())}"
