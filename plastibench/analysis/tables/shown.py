"""Tables that show themselves: in a notebook as HTML, at a prompt as text."""

from collections.abc import Sequence

from markupsafe import Markup

from plastibench.analysis.tables.text_table import TextTable, spread_in_small_print, to_plain, typeset


class Shown:
    """Base class of what a notebook and Python's prompt show as tables."""

    def text_tables(self, *, narrow: bool) -> Sequence[TextTable]:
        """Return the tables as texts, with all standard columns or with those that fit a terminal."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return "\n".join(map(to_plain, self.text_tables(narrow=True))).rstrip("\n") or "no finished runs"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return "\n".join(map(to_html, self.text_tables(narrow=False))) or "<p>no finished runs</p>"


def to_html(table: TextTable) -> str:
    """Return a table in HTML that needs no style of its own; the notes below it are folded up."""
    head = Markup().join(Markup("<th>{}</th>").format(name) for name in table.header)
    rows = Markup("\n").join(
        Markup("<tr>{}</tr>").format(
            Markup().join(
                Markup("<td><strong>{}</strong></td>" if cell.significant else "<td>{}</td>").format(
                    spread_in_small_print(cell.text)
                )
                for cell in row
            )
        )
        for row in table.rows
    )
    notes = Markup().join(Markup("<li>{}</li>").format(typeset(note)) for note in table.notes)
    return Markup(
        '<div style="overflow-x: auto">\n<table>\n<caption style="text-align: left">{}</caption>\n'
        '<thead><tr>{}</tr></thead>\n<tbody style="white-space: nowrap">\n{}\n</tbody>\n</table>\n</div>\n'
        "<details><summary>what the columns mean</summary><ul>{}</ul></details>"
    ).format(table.title, head, rows, notes)
