"""From a table in a file to rows of numbers, with a rule or an error for everything that is no number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from plastibench.data.rows import LabeledRows, row_splits
from plastibench.data.split import split_by_class
from plastibench.data.table_file import TableFile, read_table
from plastibench.errors import DataError, RequestError

if TYPE_CHECKING:
    import pandas as pd

    from plastibench.data.images import DatasetSplits

Missing = Literal["refuse", "mean"]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TableSchema:
    """What the columns of a table are, and which rows are for the test."""

    file: str
    """CSV, TSV, Parquet or npz; relative to the current folder."""
    label: str
    test_file: str = ""
    """The test rows; if empty, they are a share of `file`."""
    test_share: float = 0.2
    """Share of the rows of each class that are for the test."""
    categorical: tuple[str, ...] = ()
    """Columns whose values are names."""
    ignore: tuple[str, ...] = ()
    """Columns that are left out."""
    missing: Missing = "refuse"
    separator: str = ","


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of numbers, labels and the names of both."""

    features: tuple[str, ...]
    classes: tuple[str, ...]
    train: LabeledRows
    test: LabeledRows

    def splits(self, name: str, device: torch.device, *, normalize: bool) -> DatasetSplits:
        """Return the data sets on a device, if wanted normalized with the training rows' statistics."""
        return row_splits(name, self.train, self.test, device, normalize=normalize)


def load_table(schema: TableSchema) -> Table:
    """Return a table, read again only if a file has changed.

    Raises DataError that names file, column and line for a value that is not allowed, RequestError for a
    column that does not exist.
    """
    stats = [Path(name).expanduser().stat() for name in _files(schema) if Path(name).expanduser().is_file()]
    return _load(schema, tuple((stat.st_mtime_ns, stat.st_size) for stat in stats))


def _files(schema: TableSchema) -> list[str]:
    return [name for name in (schema.file, schema.test_file) if name]


@lru_cache(maxsize=8)
def _load(schema: TableSchema, _: tuple[tuple[int, int], ...]) -> Table:
    files = [read_table(Path(name).expanduser(), schema.separator) for name in _files(schema)]
    for file in files:
        file.require(schema.label, "label=COLUMN says which one holds the classes")
        for column in schema.categorical:
            file.require(column)
    if len(files) > 1 and files[0].frame.equals(files[1].frame):
        raise RequestError(
            f"test_file={schema.test_file} has the rows of file={schema.file}: the test would be on what was "
            "trained on; without test_file, test_share of the rows are kept for the test"
        )
    names = _feature_columns(files, schema)
    classes, labels = _labels(files, schema.label)
    train, test = _split(labels, schema.test_share)
    features: list[str] = []
    columns: list[list[Numbers]] = [[] for _ in files]
    for name in names:
        encode = _encode_names if name in schema.categorical else _encode_numbers
        keys, parts = encode(files, name, schema.missing, train)
        features += keys
        for part, into in zip(parts, columns, strict=True):
            into.append(part)
    rows = [
        LabeledRows(torch.from_numpy(np.concatenate(part, axis=1)), torch.from_numpy(label))
        for part, label in zip(columns, labels, strict=True)
    ]
    chosen = [rows[0].x[train], rows[0].y[train]], [rows[-1].x[test], rows[-1].y[test]]
    return Table(tuple(features), classes, *(LabeledRows(*part) for part in chosen))


def _feature_columns(files: Sequence[TableFile], schema: TableSchema) -> list[str]:
    """Return the columns that are features; both files must have them. Raises RequestError or DataError."""
    for column in schema.ignore:
        files[0].require(column)
    for column in {*schema.categorical} & {schema.label, *schema.ignore}:
        raise RequestError(f"categorical={column} means nothing: that column is no feature")
    names = [name for name in files[0].frame.columns if name not in (schema.label, *schema.ignore)]
    if not names:
        raise DataError(f"{files[0].path} has no column besides {schema.label!r}")
    for name in names:
        files[-1].require(name)
    return names


def _labels(files: Sequence[TableFile], column: str) -> tuple[tuple[str, ...], list[NDArray[np.int64]]]:
    """Return the names of the classes and each file's labels; classes are numbered in their order.

    Numbers are ordered as numbers, everything else as text. The first file has all classes.
    """
    keys = [_class_keys(file, column) for file in files]
    classes = sorted(set(keys[0]))
    if len(classes) < 2:
        raise DataError(
            f"{files[0].path}, column {column!r}: all labels are {classes[0][1]!r}, and 2 classes are needed"
        )
    places = {key: place for place, key in enumerate(classes)}
    for file, found in zip(files, keys, strict=True):
        for row, key in zip(file.frame.index, found, strict=True):
            if key not in places:
                raise DataError(
                    f"{file.where(column, row)}: no row of {files[0].path} has the label {key[1]!r}"
                )
    labels = [np.array([places[key] for key in found], dtype=np.int64) for found in keys]
    return tuple(name for _, name in classes), labels


def _class_keys(file: TableFile, column: str) -> list[tuple[float, str]]:
    """Return what orders the label of each row, and its name. Raises DataError for one that is no class."""
    import pandas as pd

    series = file.frame[column]
    _check_present(file, column, series, "a label")
    if not pd.api.types.is_numeric_dtype(series) or pd.api.types.is_bool_dtype(series):
        return [(0.0, str(value)) for value in series]
    values = series.to_numpy(np.float64)
    fractions = np.flatnonzero(~np.isfinite(values) | (values != np.floor(values)))
    if len(fractions):
        row, value = file.frame.index[fractions[0]], values[fractions[0]]
        raise DataError(
            f"{file.where(column, row)}: {value:g} is no class, which is a name or a whole number"
        )
    return [(value, f"{value:.0f}") for value in values]


def _split(labels: Sequence[NDArray[np.int64]], share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the training rows of the first file, and the test rows of the last one."""
    if len(labels) > 1:
        return torch.arange(len(labels[0])), torch.arange(len(labels[1]))
    return split_by_class(torch.from_numpy(labels[0]), share)


def _encode_numbers(
    files: Sequence[TableFile], column: str, missing: Missing, train: torch.Tensor
) -> tuple[list[str], list[Numbers]]:
    """Return a column of numbers for each file; a missing one becomes the mean of the training rows."""
    parts = [_numbers(file, column, missing) for file in files]
    known = parts[0][train.numpy()]
    known = known[~np.isnan(known)]
    if not len(known):
        raise _no_value(files[0], column)
    filled = [np.where(np.isnan(part), known.mean(), part) for part in parts]
    return [column], [part[:, None] for part in filled]


def _numbers(file: TableFile, column: str, missing: Missing) -> Numbers:
    """Return the numbers of a column, NaN where one is missing. Raises DataError for what is no number."""
    import pandas as pd

    series = file.frame[column]
    if missing == "refuse":
        _check_present(file, column, series, "a value")
    if pd.api.types.is_datetime64_any_dtype(series) or pd.api.types.is_complex_dtype(series):
        raise DataError(f"{file.path}, column {column!r} is of type {series.dtype}: {_leave_out(column)}")
    numbers = pd.to_numeric(series, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    wrong = np.flatnonzero((np.isnan(numbers) & series.notna().to_numpy()) | np.isinf(numbers))
    if len(wrong):
        row, value = file.frame.index[wrong[0]], series.iloc[wrong[0]]
        raise DataError(
            f"{file.where(column, row)}: {str(value)[:40]!r} is no finite number: correct it, "
            f"{_leave_out(column)}, or set categorical={column} if the column holds names"
        )
    return numbers


def _encode_names(
    files: Sequence[TableFile], column: str, missing: Missing, train: torch.Tensor
) -> tuple[list[str], list[Numbers]]:
    """Return a column for each name that is in the training rows: 1 where a row has it, otherwise 0."""
    for file in files if missing == "refuse" else ():
        _check_present(file, column, file.frame[column], "a value")
    texts = [file.frame[column].map(_name, na_action="ignore").to_numpy(object) for file in files]
    names = sorted({text for text in texts[0][train.numpy()] if isinstance(text, str)})
    if not names:
        raise _no_value(files[0], column)
    encoded = [np.stack([text == name for name in names], axis=1).astype(np.float64) for text in texts]
    return [f"{column}={name}" for name in names], encoded


def _name(value: object) -> str:
    """Return a value as text; the same number has the same text in columns of whole and of other numbers."""
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def _no_value(file: TableFile, column: str) -> DataError:
    return DataError(
        f"{file.path}, column {column!r} has no value in the training rows: {_leave_out(column)}"
    )


def _check_present(file: TableFile, column: str, series: pd.Series[Any], what: str) -> None:
    empty = np.flatnonzero(series.isna().to_numpy())
    if len(empty):
        hint = "" if what == "a label" else f"; {_leave_out(column)}, or set missing=mean"
        raise DataError(f"{file.where(column, file.frame.index[empty[0]])}: {what} is missing: add it{hint}")


def _leave_out(column: str) -> str:
    return f"leave it out with ignore={column}"
