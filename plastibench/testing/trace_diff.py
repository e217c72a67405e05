"""What differs between two runs, as the message of a law that does not hold."""

from collections.abc import Collection, Iterator

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten_with_path

from plastibench.testing.run_trace import RunTrace


def assert_equal_runs(a: RunTrace, b: RunTrace, message: str, *, ignore: Collection[str] = ()) -> None:
    """Raise AssertionError if weights or results differ, bit for bit; results in `ignore` may."""
    rows_a, rows_b = (
        [{k: v for k, v in row.items() if k not in ignore} for row in run.rows()] for run in (a, b)
    )
    assert_equal_trees(a.weights, b.weights, f"{message}: weights")
    assert_equal_trees(rows_a, rows_b, f"{message}: results")


def assert_equal_trees(a: object, b: object, message: str) -> None:
    """Raise AssertionError, which names the first difference, if two trees differ in a tensor or a value."""
    found = next(_differences(a, b), None)
    assert found is None, f"{message} differ at {found}"


def _differences(a: object, b: object) -> Iterator[str]:
    (pairs_a, structure_a), (pairs_b, structure_b) = map(tree_flatten_with_path, (a, b))
    leaves_a, leaves_b = dict(pairs_a), dict(pairs_b)
    for path in leaves_a | leaves_b:
        name = "".join(map(str, path))
        if path not in leaves_a or path not in leaves_b:
            yield f"{name}, which only one of them has"
        elif not _equal_leaves(leaves_a[path], leaves_b[path]):
            yield f"{name}: {_short(leaves_a[path])} and {_short(leaves_b[path])}"
    if structure_a != structure_b:
        yield f"their structure: {structure_a} and {structure_b}"


def _equal_leaves(a: object, b: object) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b) and a.stride() == b.stride()
    return a == b or (a != a and b != b)  # noqa: PLR0124 - NaN, the loss of a diverged stage


def _short(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} with norm {value.double().norm():.9g}"
    return repr(value)
