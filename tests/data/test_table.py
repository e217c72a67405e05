"""Tables: every format gives the same rows, and everything that is no number has a rule or an error."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from plastibench.data.table import Table, TableSchema, load_table
from plastibench.errors import DataError, RequestError

CPU = torch.device("cpu")
ROWS = "a,b,color,label\n1,2.5,red,x\n2,3.5,blue,y\n3,4.5,red,x\n4,5.5,red,y\n5,6.5,blue,x\n6,7.5,red,y\n"


def schema(path: Path, **options: Any) -> TableSchema:
    return TableSchema(**{"file": str(path), "label": "label", "test_share": 0.34, **options})


def written(folder: Path, text: str, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, text: str, **options: Any) -> Table:
    return load_table(schema(written(folder, text), **options))


def error(folder: Path, text: str, **options: Any) -> str:
    """Return the one line that a table is refused with, without the folder."""
    with pytest.raises(RequestError) as found:
        load(folder, text, **options)
    message = str(found.value).replace(f"{folder}/", "")
    assert "\n" not in message
    return message


def both(table: Table) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.cat([table.train.x, table.test.x]), torch.cat([table.train.y, table.test.y])


def iris() -> pd.DataFrame:
    from sklearn.datasets import load_iris

    data = load_iris(as_frame=True)
    frame: pd.DataFrame = data.data.assign(label=[str(data.target_names[number]) for number in data.target])
    return frame


WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "parquet": lambda frame, path: frame.to_parquet(path),
    "npz": lambda frame, path: np.savez(
        path, x=frame.drop(columns="label").to_numpy(), label=frame["label"].to_numpy(str)
    ),
}


def test_every_format_gives_the_same_real_rows(tmp_path: Path) -> None:
    frame = iris()
    found = {}
    for name, write in WRITERS.items():
        path = tmp_path / f"iris.{name}"
        write(frame, path)
        found[name] = load_table(schema(path, test_share=0.2))
    table = found["csv"]
    assert table.classes == ("setosa", "versicolor", "virginica")
    assert (len(table.train), len(table.test), len(table.features)) == (120, 30, 4)
    assert torch.bincount(table.test.y).tolist() == [10, 10, 10]
    x, _ = both(table)
    assert sorted(map(tuple, x.tolist())) == sorted(
        map(tuple, frame.drop(columns="label").to_numpy().tolist())
    )
    sums = {each.splits("iris", CPU, normalize=True).checksum for each in found.values()}
    assert len(sums) == 1


def test_rows_are_normalized_with_the_statistics_of_the_training_rows(tmp_path: Path) -> None:
    """By hand: mean 2 and standard deviation 1; the constant column becomes 0, and 5 in the test rows."""
    train = written(tmp_path, "a,same,label\n1,7,0\n3,7,1\n")
    test = written(tmp_path, "a,same,label\n4,12,1\n", "test.csv")
    table = load_table(schema(train, test_file=str(test)))
    splits = table.splits("mine", CPU, normalize=True)
    (x, _), (tx, ty) = (next(part.batches(9)) for part in (splits.train, splits.test))
    assert x.tolist() == [[-1, 0], [1, 0]]
    assert (tx.tolist(), ty.tolist()) == ([[2, 5]], [1])
    assert x.dtype == torch.float32
    raw = next(table.splits("mine", CPU, normalize=False).train.batches(9))[0]
    assert raw.tolist() == [[1, 7], [3, 7]]


def test_a_batch_is_a_copy(tmp_path: Path) -> None:
    splits = load(tmp_path, "a,label\n1,0\n3,1\n", test_share=0.01).splits("mine", CPU, normalize=False)
    next(splits.train.batches(2))[0].zero_()
    assert next(splits.train.batches(2))[0].flatten().tolist() == [1, 3]


def test_names_become_columns_in_their_order(tmp_path: Path) -> None:
    table = load(tmp_path, ROWS, categorical=("color",), test_share=0.01)
    assert table.features == ("a", "b", "color=blue", "color=red")
    x, _ = both(table)
    assert {tuple(row) for row in x[:, [0, 2, 3]].tolist()} == {
        (1, 0, 1), (2, 1, 0), (3, 0, 1), (4, 0, 1), (5, 1, 0), (6, 0, 1)
    }  # fmt: skip


def test_a_name_that_only_the_test_rows_have_is_none_of_the_names(tmp_path: Path) -> None:
    train = written(tmp_path, "n,label\n1,0\n2,1\n")
    test = written(tmp_path, "n,label\n2.0,1\n3,0\n,0\n", "test.csv")
    table = load_table(schema(train, test_file=str(test), categorical=("n",), missing="mean"))
    assert table.features == ("n=1", "n=2")
    assert table.test.x.tolist() == [[0, 1], [0, 0], [0, 0]]


def test_a_missing_number_is_the_mean_of_the_training_rows_if_that_is_asked_for(tmp_path: Path) -> None:
    train = written(tmp_path, "a,label\n1,0\n,1\n5,1\n")
    test = written(tmp_path, "a,label\nNA,1\n", "test.csv")
    table = load_table(schema(train, test_file=str(test), missing="mean"))
    assert table.train.x.flatten().tolist() == [1, 3, 5]
    assert table.test.x.flatten().tolist() == [3]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ("b a b a", ("a", "b")),
        ("10 9 10 9", ("9", "10")),
        ("1.0 0.0 1.0 0.0", ("0", "1")),
        ("True False True False", ("False", "True")),
        ("-1 1 -1 1", ("-1", "1")),
    ],
)
def test_classes_are_numbered_in_their_order(tmp_path: Path, labels: str, classes: tuple[str, ...]) -> None:
    words = labels.split()
    text = "a,label\n" + "".join(f"{place},{word}\n" for place, word in enumerate(words))
    table = load(tmp_path, text, test_share=0.01)
    assert table.classes == classes
    numbers = [classes.index(word.removesuffix(".0")) for word in words]
    assert table.train.y[table.train.x[:, 0].argsort()].tolist() == numbers


def test_each_class_keeps_a_training_row_and_the_split_is_always_the_same(tmp_path: Path) -> None:
    text = "a,label\n" + "".join(f"{place},{'rare' if place == 7 else place % 2}\n" for place in range(40))
    tables = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        tables.append(load(tmp_path / name, text, test_share=0.9))
    assert torch.equal(tables[0].test.x, tables[1].test.x)
    assert sorted(tables[0].train.y.unique().tolist()) == [0, 1, 2]
    assert len(tables[0].train) == 2 + 2 + 1


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    first = load(tmp_path, ROWS, ignore=("color",))
    second = load(tmp_path, ROWS.replace("7.5", "70.5"), ignore=("color",))
    assert float(both(first)[0].max()) == 7.5
    assert float(both(second)[0].max()) == 70.5


NO_COLOR: dict[str, Any] = {"ignore": ("color",)}
MEAN: dict[str, Any] = {"missing": "mean"}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (ROWS, {}, "mine.csv, column 'color', line 2: 'red' is no finite number: correct it, leave it out with"),
    (ROWS, {}, "out with ignore=color, or set categorical=color if the column holds names"),
    (ROWS.replace("3,4.5", "3,four"), NO_COLOR, "mine.csv, column 'b', line 4: 'four' is no finite number"),
    (ROWS.replace("3,4.5", "\n3,inf"), NO_COLOR, "mine.csv, column 'b', line 5: 'inf' is no finite number"),
    (
        ROWS.replace("3,4.5", "3,"),
        NO_COLOR,
        "mine.csv, column 'b', line 4: a value is missing: add it; leave",
    ),
    (ROWS.replace("3,4.5", "3,"), NO_COLOR, "leave it out with ignore=b, or set missing=mean"),
    (ROWS.replace("5,red", "5,"), {"categorical": ("color",)}, "column 'color', line 2: a value is missing"),
    (ROWS.replace("5.5,red,y", "5.5,red,"), {**NO_COLOR, **MEAN}, "'label', line 5: a label is missing: add"),
    (ROWS.replace(",y", ",x"), NO_COLOR, "mine.csv, column 'label': all labels are 'x', and 2 classes are"),
    ("a,label\n1,0.5\n2,1.5\n", {}, "mine.csv, column 'label', line 2: 0.5 is no class, which is a name"),
    ("a,label\n", {}, "mine.csv has no rows"),
    ("", {}, "mine.csv cannot be read: EmptyDataError"),
    ("label\nx\ny\n", {}, "mine.csv has one column only, 'label': is it separated by ','?"),
    ("a;label\n1;x\n2;y\n", {}, "mine.csv has one column only, 'a;label': is it separated by ','?"),
    ("label,b\nx,1\ny,2\n", {"ignore": ("b",)}, "mine.csv has no column besides 'label'"),
    ("a,a,label\n1,1,x\n2,2,y\n", {}, "mine.csv has two columns named 'a'"),
    ("a,label\n1,x,3\n2,y,4\n", {}, "mine.csv: a line has more values than the first line has names"),
    ("a,label\n1,x\n2,y,4\n", {}, "mine.csv cannot be read: ParserError"),
    ("a,label\n,x\n,y\n", MEAN, "mine.csv, column 'a' has no value in the training rows: leave it out"),
    ("a,label\n,x\n,y\n", {**MEAN, "categorical": ("a",)}, "column 'a' has no value in the training rows"),
    (ROWS, {"label": "lable"}, "no column of mine.csv named 'lable'; did you mean 'label'? (there are: a, b"),
    (ROWS, {"label": "kind"}, "label); label=COLUMN says which one holds the classes"),
    (ROWS, {"ignore": ("colour",)}, "no column of mine.csv named 'colour'; did you mean 'color'?"),
    (ROWS, {"categorical": ("label",)}, "categorical=label means nothing: that column is no feature"),
]


@pytest.mark.parametrize(("text", "options", "message"), REFUSED)
def test_what_is_no_row_of_numbers_is_one_clear_error(
    tmp_path: Path, text: str, options: dict[str, Any], message: str
) -> None:
    assert message in error(tmp_path, text, **options)


def test_labels_that_are_numbers_to_predict_are_refused(tmp_path: Path) -> None:
    rows = "".join(f"{number},{number % 7},{100 + 3 * number}\n" for number in range(20))
    message = error(tmp_path, f"a,b,label\n{rows}")
    assert "each of the 20 examples is a class of its own" in message
    assert "a number to be predicted is no class" in message


def test_an_index_that_pandas_has_written_is_no_feature(tmp_path: Path) -> None:
    frame = pd.read_csv(written(tmp_path, ROWS))
    frame.to_csv(tmp_path / "indexed.csv")
    message = error(tmp_path, (tmp_path / "indexed.csv").read_text(encoding="utf-8"))
    assert "the first column has no name, as if pandas had written its index" in message
    frame.to_csv(tmp_path / "plain.csv", index=False)
    plain = (tmp_path / "plain.csv").read_text(encoding="utf-8")
    assert len(load(tmp_path, plain, categorical=("color",)).train) == 4


def test_a_separator_can_be_given(tmp_path: Path) -> None:
    assert load(tmp_path, ROWS.replace(",", ";"), separator=";", ignore=("color",)).features == ("a", "b")


def test_text_in_another_encoding_is_an_error_and_a_mark_of_windows_is_none(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufeffa,label\n1,x\n2,y\n")
    assert load_table(schema(path)).features == ("a",)
    path.write_bytes("a,label\n1,\u00e9\n2,y\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"mine.csv cannot be read: UnicodeDecodeError"):
        load_table(schema(path))


def test_a_test_row_of_an_unknown_class_or_without_a_column_is_named(tmp_path: Path) -> None:
    train = written(tmp_path, "a,label\n1,x\n2,y\n")
    other = written(tmp_path, "a,label\n1,x\n2,z\n", "test.csv")
    with pytest.raises(
        DataError, match=r"test.csv, column 'label', line 3: no row of .*mine.csv has the label 'z'"
    ):
        load_table(schema(train, test_file=str(other)))
    other.write_text("b,label\n1,x\n")
    with pytest.raises(RequestError, match=r"no column of .*test.csv named 'a'"):
        load_table(schema(train, test_file=str(other)))


def test_training_rows_are_no_test_rows(tmp_path: Path) -> None:
    for name in ("train.csv", "copy.csv"):
        (tmp_path / name).write_text("a,label\n1,x\n2,y\n", encoding="utf-8")
    for name in ("train.csv", "copy.csv"):
        with pytest.raises(
            RequestError, match=rf"test_file=.*{name} has the rows of file=.*train.csv: the test"
        ):
            load_table(
                TableSchema(file=str(tmp_path / "train.csv"), label="label", test_file=str(tmp_path / name))
            )


def test_rows_of_a_parquet_file_are_counted_and_types_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    frame = pd.DataFrame({"a": pd.array([1, None, 3], "Int64"), "label": ["x", "y", "x"]}, index=[7, 8, 9])
    frame.to_parquet(path)
    with pytest.raises(DataError, match=r"column 'a', row 2: a value is missing"):
        load_table(schema(path))
    assert len(load_table(schema(path, missing="mean")).features) == 1
    frame.assign(a=pd.Timestamp("2020-01-01")).to_parquet(path)
    with pytest.raises(DataError, match=r"column 'a' is of type datetime64.*: leave it out with ignore=a"):
        load_table(schema(path))


def test_parquet_without_pyarrow_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.parquet"
    iris().to_parquet(path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as if it was not installed
    with pytest.raises(DataError, match=r"cannot be read: Parquet needs the package pyarrow; install it, or"):
        load_table(schema(path))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 2, 2)), "label": np.arange(2)}, r"array 'x' has the shape \(2, 2, 2\)"),
        ({"x": np.zeros((3, 2)), "label": np.arange(2)}, "arrays have different lengths"),
        ({"x": np.array([1, None], dtype=object), "label": np.arange(2)}, "cannot be read: .*allow_pickle"),
    ],
)
def test_arrays_that_are_no_table_are_named(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=message):
        load_table(schema(path))


def test_files_that_are_not_there_or_no_table_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*none.csv"):
        load_table(schema(tmp_path / "none.csv"))
    with pytest.raises(
        DataError, match=r"mine.txt is no table: its name must end in one of .csv, .tsv, .parq"
    ):
        load_table(schema(written(tmp_path, ROWS, "mine.txt")))
    for suffix in ("npz", "parquet"):
        with pytest.raises(DataError, match=f"mine.{suffix} cannot be read"):
            load_table(schema(written(tmp_path, ROWS, f"mine.{suffix}")))
