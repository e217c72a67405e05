"""The prose about published results says what their records give."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import ModuleType

import pytest
from support.commands import command
from support.recorded import a_file
from support.reports import a_run, some_runs

from plastibench.analysis.stats.estimate import Estimate
from plastibench.analysis.tables.table import build_tables
from plastibench.experiments.spec import Part
from plastibench.plugins.registry import Registry
from plastibench.store.record import Record
from plastibench.store.tuned_settings import TunedSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def docs() -> Iterator[Mapping[str, ModuleType]]:
    """Return the scripts that write prose from records."""
    sys.path.insert(0, str(ROOT / "docs"))
    yield {
        name: importlib.import_module(name)
        for name in (
            "across_boards",
            "answers",
            "boards",
            "board_rows",
            "claims",
            "data_sets",
            "page_script",
            "table1",
        )
    }
    sys.path.remove(str(ROOT / "docs"))


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("script", "page"),
    [("boards", "results/README.md"), ("claims", "docs/claims.md"), ("table1", "docs/table1.md")],
)
def test_prose_with_numbers_is_made_from_the_records(
    docs: Mapping[str, ModuleType], script: str, page: str
) -> None:
    assert docs[script].page() == (ROOT / page).read_text(encoding="utf-8"), "run `make results`"


def test_a_script_writes_its_page_or_says_that_it_is_not_current(
    docs: Mapping[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write_or_check = tmp_path / "page.md", docs["page_script"].write_or_check
    for text, arguments, refused in (
        ("new", ["--check"], True),
        ("new", [], False),
        ("new", ["--check"], False),
        ("newer", ["--check"], True),
    ):
        monkeypatch.setattr(sys, "argv", ["page.py", *arguments])
        with (
            pytest.raises(SystemExit, match=r"page\.md is not current: run make results")
            if refused
            else nullcontext()
        ):
            write_or_check(path, lambda text=text: text, None, "make results")
    assert path.read_text(encoding="utf-8") == "new"


def test_the_table_of_all_boards_has_the_gains_of_each(docs: Mapping[str, ModuleType]) -> None:
    text = docs["across_boards"].gains_table(["quickstart", "table1-cifar10", "no-board"])
    head, _, *lines = [
        [cell.strip(" `") for cell in line.strip("|").split("|")] for line in text.splitlines()
    ]
    assert head == ["method", "quickstart", "table1-cifar10"]
    found = {line[0]: line[1:] for line in lines}
    for column, board in enumerate(head[1:]):
        for row in docs["board_rows"].board_tables(board)[0].rows:
            if row.method == "warm":
                assert row.method not in found
                continue
            starred = row.gain.n > 1 and row.gain.low * row.gain.high > 0
            assert found[row.method][column] == f"{row.gain.mean:+.2f}{'*' if starred else ''}"
    first = [float(cells[0].rstrip("*")) for cells in found.values() if cells[0] != "-"]
    assert first == sorted(first, reverse=True)
    assert docs["across_boards"].gains_table(["no-board"]) == ""


@pytest.mark.heavy
def test_the_answers_in_short_hold(
    docs: Mapping[str, ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    sentences = docs["boards"].TOLD["answers"]
    assert len(list(docs["answers"].answers(sentences))) == len(sentences), capsys.readouterr().err


def test_an_answer_that_does_not_hold_is_left_out_and_told(
    docs: Mapping[str, ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    sentences = [
        "S&P gains {+quickstart|shrink_perturb|warm}, DASH may {0quickstart|dash|warm}.",
        "DASH gains {+quickstart|dash|warm}.",
        "S&P loses {-quickstart|shrink_perturb|warm}.",
        "Nobody {+quickstart|nobody|warm}.",
        "No board {+no-board|dash|warm}.",
        "No such regime {+claims-cpu/none|dash|warm}.",
        "Of several {-claims-cpu/discard|cold|warm}.",
    ]
    found = list(docs["answers"].answers(sentences))
    assert found[0] == "S&P gains +0.99 [+0.14, +1.84], DASH may +0.74 [-0.55, +2.03]."
    assert [text.partition(" -")[0] for text in found[1:]] == ["Of several"]
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 5
    assert "{+quickstart|dash|warm}: it is +0.74 [-0.55, +2.03]" in told[0]


def test_two_data_sets_are_compared_over_all_their_runs(docs: Mapping[str, ModuleType]) -> None:
    boards = ["increments-cpu", "sota-cpu"]
    first, second = (docs["board_rows"].board_tables(board)[0] for board in boards)
    concordant = 0
    shared = sorted({row.method for row in first.rows} & {row.method for row in second.rows} - {"warm"})
    gains = [{row.method: row.gain.mean for row in table.rows if row.gain} for table in (first, second)]
    for one, other in combinations(shared, 2):
        product = (gains[0][one] - gains[0][other]) * (gains[1][one] - gains[1][other])
        concordant += 1 if product > 0 else -1
    tau = concordant / math.comb(len(shared), 2)
    assert docs["data_sets"].kendall_tau([first, second]) == pytest.approx(tau)
    text, picture = docs["data_sets"].data_sets_text(boards, "{records}: {rows}, {tau}, {above}; {below}")
    assert text.startswith("--records results/records/increments-cpu.jsonl.xz --records results/records/s")
    assert f": {len(shared)}, {tau:.2f}, " in text
    assert "`l2_init` -" in text.partition(";")[2]
    assert (ROOT / "results" / picture.partition("(")[2].rstrip(")")).is_file()
    assert not list(docs["data_sets"].data_sets_text(["sota-cpu", "no-board"], "{records}"))


def test_the_prose_of_a_board_says_what_its_table_says(docs: Mapping[str, ModuleType]) -> None:
    tables = docs["board_rows"].board_tables("quickstart")
    separated, costs, limits = docs["boards"].board_paragraphs("field-cpu", tables)
    above, _, rest = separated.partition("Below it:")
    assert "7 rows of 3 seeds" in above
    assert "`shrink_perturb` +0.99 [+0.14, +1.84]" in above
    assert "`dash`" not in above
    assert "`shrink_perturb` +1.01 [+0.64, +1.37]" in rest
    assert "corrected for 6 comparisons" in rest
    assert "as a factor of cold start's: warm start 0.36; above it `shrink_perturb` 1.32." in costs
    assert "`dash` +0.74 [-0.55, +2.03]" in costs.partition("Not to be told")[2]
    assert limits == docs["boards"].BOARDS["field-cpu"]["limits"]


def test_a_tuned_board_compares_tuned_rows_with_tuned_references(
    docs: Mapping[str, ModuleType], tmp_path: Path
) -> None:
    runs, tuned = [], {}
    for method, published, better in (("warm", 50, 60), ("cold", 52, 58), ("dash", 55, 61), ("sam", 57, 57)):
        part = Part.of(Registry().get("method", method), Registry().load("method", method)())
        for seed in range(3):
            runs += [_flat_run(part, seed, published + seed / 10), _flat_run(part, seed, better, rate=0.5)]
        kept = published == better
        origin = TunedSettings("s", 8, 3, {} if kept else {"learning_rate": 0.1}, published=kept, passes=2e6)
        tuned[runs[-2 if kept else -1].variant_id] = origin
        runs = runs[:-6] + runs[-6::2] if kept else runs
    path = a_file(tmp_path / "b.jsonl.xz", runs, tuned=tuned)
    tables = command("table", "--records", path)
    assert tables.status == 0, tables.err
    boards, rows = docs["boards"], docs["board_rows"]
    (setting,) = rows.table(rows.Selection(records=(path,))).tables
    _, _, text, limits = boards.board_paragraphs("field-tuned-cpu", [setting])
    assert text.startswith(
        "Each method tuned with 8 trials. Above tuned warm start, with intervals without 0, `dash` +1.00"
    )
    assert "below it `sam` -2.90" in text
    assert "Above tuned cold start, with intervals without 0, `dash` +3.00" in text
    assert "million passes" in text
    assert "times one run of cold start" in text
    assert "`warm` +9.90" in text.partition("Chosen minus published settings: ")[2]
    assert "No trial was better than the published settings of `sam`." in text
    assert "Ranks by average accuracy, tuned and on field-cpu: `dash` 1 and " in text
    assert limits == boards.BOARDS["field-tuned-cpu"]["limits"]
    assert rows.find_row(setting, "warm").method == "warm"
    assert boards.tuned_text(rows.board_tables("quickstart")[0], None) == ""


def _flat_run(method: Part, seed: int, accuracy: float, rate: float = 0.1) -> Record:
    """Return a run with the same accuracy after each stage, in percent."""
    run = a_run(method.name, seed, learning_rate=rate)
    stages = [{**stage, "test_accuracy": accuracy / 100} for stage in run.stages]
    return replace(run, spec=replace(run.spec, method=method), stages=stages)


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        (1, "3 rows of 1 seed, 1 minute of one core. One seed has no intervals."),
        (
            3,
            "With 3 seeds no difference can be significant once it is corrected for 2 comparisons: the "
            "smallest p-value is 0.25.",
        ),
        (10, "Significant once corrected for 2 comparisons: from warm start `cold` and `dash`; from"),
    ],
)
def test_the_prose_says_what_so_many_seeds_can_decide(
    docs: Mapping[str, ModuleType], seeds: int, expected: str
) -> None:
    tables = build_tables(some_runs(seeds, ("warm", "cold", "dash")), "warm", "cold")
    assert expected in next(docs["boards"].board_paragraphs("field-cpu", tables))


@pytest.mark.parametrize(
    ("claim", "low", "high", "verdict"),
    [
        ("above", 0.1, 2.0, "holds"),
        ("above", -0.1, 2.0, "open"),
        ("above", -2.0, -0.1, "does not hold"),
        ("below", -2.0, -0.1, "holds"),
        ("below", 0.1, 2.0, "does not hold"),
        ("no gain", -2.0, 0.4, "holds"),
        ("no gain", -2.0, 0.6, "open"),
        ("no gain", 0.1, 0.6, "does not hold"),
        ("above", math.nan, math.nan, "open"),
    ],
)
def test_a_claim_is_judged_by_the_interval(
    docs: Mapping[str, ModuleType], claim: str, low: float, high: float, verdict: str
) -> None:
    difference, nothing = Estimate(3, 0.0, 1.0, low, high), Estimate(3, 1.0, 1.0, 0.0, 2.0)
    assert docs["claims"].Outcome(difference, nothing, nothing).verdict(claim) == verdict


@pytest.mark.parametrize(
    ("claim", "low", "high", "verdict"),
    [
        ("fewer steps", 0.4, 0.9, "holds"),
        ("fewer steps", 1.1, 1.9, "does not hold"),
        ("more steps", 1.1, 1.9, "holds"),
        ("more steps", 0.4, 1.9, "open"),
    ],
)
def test_a_claim_about_steps_is_judged_by_their_ratio(
    docs: Mapping[str, ModuleType], claim: str, low: float, high: float, verdict: str
) -> None:
    ratio, nothing = Estimate(3, 1.0, 1.0, low, high), Estimate(3, 0.0, 1.0, -1.0, 1.0)
    assert docs["claims"].Outcome(nothing, nothing, ratio).verdict(claim) == verdict


def test_a_stage_is_compared_with_the_same_stage_of_the_cost_reference(
    docs: Mapping[str, ModuleType],
) -> None:
    (board,) = docs["board_rows"].board_tables("quickstart")
    rows = {row.method: row for row in board.rows}
    text = docs["boards"].stage_table(board, ["once more"])
    cells = next(line for line in text.splitlines() if line.startswith("| `dash`")).split(" | ")
    gains = [
        run.accuracies[1] - other.accuracies[1]
        for run, other in zip(rows["dash"].metrics, rows["cold"].metrics, strict=True)
    ]
    assert cells[1].startswith(f"{sum(gains) / 3:+.2f} [")
    assert cells[2].startswith("not matched for") == (sum(gains) < 0)
    assert cells[3] == "not measured |"
    assert "`cold`" not in text


@pytest.mark.heavy
def test_a_setting_that_a_submission_adds_to_a_board_has_a_place_of_its_own(
    docs: Mapping[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = ("warm", "cold", "mine")
    runs = [
        replace(run, spec=replace(run.spec, recipe={**run.spec.recipe, "learning_rate": rate}))
        for rate, names in ((0.1, methods), (0.5, methods[:2]))
        for run in some_runs(3, names)
    ]
    a_file(tmp_path / "one.jsonl.xz", runs)
    a_file(tmp_path / "two.jsonl.xz", some_runs(3, methods, task="other_task"))
    for name in ("board_rows", "data_sets"):
        monkeypatch.setattr(docs[name], "RECORDS", tmp_path)
    monkeypatch.setattr(docs["data_sets"], "ROOT", tmp_path)
    places = [name for name, _ in docs["board_rows"].board_places("one")]
    assert places == ["one, setting 1", "one, setting 2"]
    table = docs["across_boards"].gains_table(["one", "two"])
    assert table.splitlines()[0] == "| method | one, setting 1 | one, setting 2 | two |"
    # The two data sets are compared in the setting that has more methods.
    (text, _) = docs["data_sets"].data_sets_text(("one", "two"), "{rows} rows, tau {tau}")
    assert text.startswith("2 rows, tau ")
