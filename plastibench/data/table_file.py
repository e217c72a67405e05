"""Files of tables, in CSV, Parquet or npz, read into a frame whose rows can be named in messages."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plastibench.errors import DataError, RequestError, explain, unknown

if TYPE_CHECKING:
    import pandas as pd

TEXT_SUFFIXES = (".csv", ".tsv")


@dataclass(frozen=True, eq=False)
class TableFile:
    """A table and the file that it comes from."""

    path: Path
    frame: pd.DataFrame
    """One row for each example; its index counts the rows of the file from 0."""

    def where(self, column: str, row: int) -> str:
        """Return the place of a value for a message: file, column and line (row, if the file is no text).

        The first line names the columns. A line break within a value is not counted.
        """
        place = f"line {row + 2}" if self.path.suffix.lower() in TEXT_SUFFIXES else f"row {row + 1}"
        return f"{self.path}, column {column!r}, {place}"

    def require(self, column: str, hint: str = "") -> None:
        """Raise RequestError if there is no such column; `hint` ends its message."""
        if column not in self.frame.columns:
            error = unknown(f"column of {self.path}", column, map(str, self.frame.columns))
            raise RequestError(f"{error}; {hint}") if hint else error


def read_table(path: Path, separator: str = ",") -> TableFile:
    """Return the table in a file; the suffix of its name says how it is written.

    `separator` is that of a CSV file; a TSV file has tabs. Raises DataError if the file is missing, cannot be
    read, or has no rows, or two columns of one name.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise DataError(f"{path} is no table: its name must end in one of {', '.join(READERS)}")
    if not path.is_file():
        raise DataError(f"there is no file {path.absolute()}")
    with _read_errors(path):
        frame = READERS[suffix](path, "\t" if suffix == ".tsv" else separator)
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise DataError(f"{path} has two columns named {str(repeated[0])!r}")
    if frame.empty:
        raise DataError(f"{path} has no rows")
    return TableFile(path, frame)


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    """Read a CSV file; lines without any value are left out, and others keep their numbers."""
    import pandas as pd

    options: dict[str, Any] = {"sep": separator, "encoding": "utf-8-sig", "skip_blank_lines": False}
    names = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, **options)
    if not names.iat[0, 0]:
        raise DataError(
            f"{path}: the first column has no name, as if pandas had written its index, which would be a "
            "feature: write the file with index=False, or name the column"
        )
    options |= {"low_memory": False, "index_col": False}
    with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
        try:
            frame: pd.DataFrame = pd.read_csv(path, **options)
        except pd.errors.ParserWarning as error:
            raise DataError(f"{path}: a line has more values than the first line has names") from error
    if len(frame.columns) == 1:
        raise DataError(f"{path} has one column only, {names.iat[0, 0]!r}: is it separated by {separator!r}?")
    frame.columns = pd.Index(names.iloc[0])  # pandas renames the second one of a name
    return frame.dropna(how="all")


def _read_parquet(path: Path, _: str) -> pd.DataFrame:
    import pandas as pd

    try:
        frame: pd.DataFrame = pd.read_parquet(path, engine="pyarrow")
    except ImportError as error:
        raise DataError(
            f"{path} cannot be read: Parquet needs the package pyarrow; install it, or write the table as CSV"
        ) from error
    return frame.reset_index(drop=True).rename(columns=str)


def _read_npz(path: Path, _: str) -> pd.DataFrame:
    """Read the arrays of an npz file: one of n numbers or texts is a column, one of (n, k) is k columns."""
    import pandas as pd

    columns: dict[str, NDArray[Any]] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            array = arrays[name]
            if array.ndim not in (1, 2):
                raise DataError(f"{path}: array {name!r} has the shape {array.shape}, and not (n,) or (n, k)")
            parts = (
                {name: array} if array.ndim == 1 else {f"{name}_{i}": part for i, part in enumerate(array.T)}
            )
            columns |= {
                key: part.astype(str) if part.dtype.kind == "S" else part for key, part in parts.items()
            }
    sizes = {name: len(column) for name, column in columns.items()}
    if len(set(sizes.values())) > 1:
        raise DataError(f"{path}: arrays have different lengths ({sizes})")
    return pd.DataFrame(columns)


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """Turn whatever a reader raises into one line."""
    try:
        yield
    except RequestError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:  # pandas' are ValueErrors
        raise DataError(f"{path} cannot be read: {explain(error)}") from error


READERS: dict[str, Callable[[Path, str], pd.DataFrame]] = {
    ".csv": _read_text,
    ".tsv": _read_text,
    ".parquet": _read_parquet,
    ".npz": _read_npz,
}
