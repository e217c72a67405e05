"""The exit codes of the command line."""

from pages import attribute_docs, table

from plastibench.cli.exit_codes import ExitCode


def page() -> str:
    """Return a table of the exit codes."""
    docs = attribute_docs(ExitCode)
    rows = [[str(code.value), code.name.lower(), docs[code.name]] for code in ExitCode]
    return table(["code", "", "meaning"], rows)
