"""The Python API: the workflows of the command line as functions.

`import plastibench` makes them available as `plastibench.run` and so on. They return values and print
nothing but progress, in a notebook and on a terminal; messages go to the logger "plastibench". Scripts need
no `if __name__ == "__main__":`, since the processes of `jobs` and MLflow do not execute them again.
"""

from plastibench.python_api.checking import check
from plastibench.python_api.executing import resume, run, tune
from plastibench.python_api.reading import frame, report, results, table

__all__ = ["check", "frame", "report", "results", "resume", "run", "table", "tune"]
