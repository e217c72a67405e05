"""From records to tables: grouping, pairing, sums, forms."""

from __future__ import annotations

import csv
import io
import json
import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from support.reports import ORIGIN, a_spec_of

from plastibench.analysis.dataframe import to_dataframe
from plastibench.analysis.stats.estimate import estimate_mean, paired_difference, percent
from plastibench.analysis.tables.aggregate import BootstrapEstimate, aggregate
from plastibench.analysis.tables.columns import (
    COLUMNS,
    STYLES,
    available_columns,
    format_table,
    select_columns,
)
from plastibench.analysis.tables.export import format_tables, render_tables
from plastibench.analysis.tables.table import ResultRow, ResultTable, build_tables
from plastibench.analysis.tables.text_table import to_latex, to_markdown
from plastibench.errors import RequestError
from plastibench.experiments.spec import Part, Spec
from plastibench.store.record import Record

Change = Callable[[Spec], Spec]

COST = {
    "steps": 10,
    "samples": 100,
    "train_passes": 100,
    "remedy_passes": 0,
    "train_seconds": 1.0,
    "remedy_seconds": 0.25,
    "evaluation_seconds": 0.5,
}


def record(method: str, seed: int, accuracies: list[float], status: str = "done", **more: Any) -> Record:
    stages = [{"index": i, "test_accuracy": a, **COST} for i, a in enumerate(accuracies)]
    return Record(a_spec_of(method, seed, stages=2, **more), status, stages, dict(ORIGIN))


RECORDS = [
    record("warm", 0, [0.5, 0.6]),
    record("warm", 1, [0.4, 0.7]),
    record("warm", 2, [0.6, 0.5]),
    record("new", 0, [0.6, 0.7]),
    record("new", 1, [0.5, 0.9]),
    record("new", 2, [0.6, 0.6]),
]


def only(
    records: list[Record], baseline: str | None = "warm", cost_reference: str | None = None
) -> ResultTable:
    (table,) = build_tables(records, baseline, cost_reference)
    return table


def named(table: ResultTable, method: str) -> ResultRow:
    return next(row for row in table.rows if row.method == method)


def markdown(table: ResultTable) -> str:
    return to_markdown(format_table(table))


def test_a_row_has_last_stage_and_mean_of_stages() -> None:
    row = next(row for row in only(RECORDS).rows if row.method == "warm")
    assert row.seeds == (0, 1, 2)
    assert row.last.mean == pytest.approx(60)
    assert row.last.sd == pytest.approx(10)
    assert row.average.mean == pytest.approx(55)


def with_steps(method: str, seed: int, steps: list[int]) -> Record:
    found = record(method, seed, [0.5] * len(steps))
    return replace(found, stages=[{**row, "steps": n} for row, n in zip(found.stages, steps, strict=True)])


def test_stages_too_short_for_running_statistics_are_counted_by_method() -> None:
    runs = [with_steps("warm", 0, [65, 66]), with_steps("warm", 1, [3, 65]), with_steps("cold", 0, [66, 900])]
    (line,) = (note for note in only(runs).notes if "running statistics" in note)
    assert line.startswith("stages of fewer than 66 steps,")
    assert line.endswith("more than 0.1 % of their values from before the stage: warm 3 of 4")
    assert line in markdown(only(runs))


def test_there_is_no_note_on_running_statistics_if_every_stage_is_long() -> None:
    runs = [with_steps("warm", 0, [66, 80]), with_steps("cold", 0, [66, 900])]
    assert not any("running statistics" in note for note in only(runs).notes)


def test_gains_are_paired_by_seed() -> None:
    row = next(row for row in only(RECORDS).rows if row.method == "new")
    gain = row.gains["warm"].estimate
    # Of the mean over stages: 65-55, 70-55, 60-55.
    expected = scipy_stats.ttest_rel([65, 70, 60], [55, 55, 55]).confidence_interval(0.95)
    assert gain.mean == pytest.approx(10)
    assert (gain.low, gain.high) == pytest.approx((expected.low, expected.high))


def test_a_seed_that_the_baseline_lacks_is_in_no_gain() -> None:
    row = next(row for row in only([*RECORDS, record("new", 9, [0.0, 0.0])]).rows if row.method == "new")
    assert row.seeds == (0, 1, 2, 9)
    assert row.gains["warm"].estimate.n == 3


def test_a_diverged_run_is_counted_and_never_averaged() -> None:
    row = next(
        row for row in only([*RECORDS, record("new", 9, [0.1], "diverged")]).rows if row.method == "new"
    )
    assert row.num_diverged == 1
    assert row.last.n == 3
    assert "3 + 1 diverged" in markdown(only([*RECORDS, record("new", 9, [0.1], "diverged")]))


def test_a_row_has_the_records_of_its_runs() -> None:
    lost = record("new", 9, [0.1], "diverged")
    row = next(row for row in only([*RECORDS[::-1], lost]).rows if row.method == "new")
    assert list(row.records) == [*RECORDS[3:], lost]


def test_costs_are_summed_over_stages_and_averaged_over_seeds() -> None:
    row = only(RECORDS).rows[0]
    assert row.cost["steps"] == 20
    assert row.cost["remedy_seconds"] == 0.5


@pytest.mark.parametrize(
    "other",
    [
        {"precision": "bf16"},
        {"learning_rate": 0.2},
        {"weight_decay": 0.5},
    ],
)
def test_runs_of_another_setting_are_in_another_table(other: dict[str, Any]) -> None:
    found = build_tables([*RECORDS, record("new", 0, [0.9, 0.9], **other)], "warm")
    assert sorted(len(table.rows) for table in found) == [1, 2]
    assert found[0].title != found[1].title
    name, value = next(iter(other.items()))
    assert [f"{name}={value}" in table.title for table in found] == [len(table.rows) == 1 for table in found]


@pytest.mark.parametrize("part", ["task", "model"])
def test_runs_of_other_code_are_in_another_table(part: str) -> None:
    changed = replace(RECORDS[0].spec, **{part: replace(getattr(RECORDS[0].spec, part), code="edited")})
    found = build_tables([*RECORDS, replace(RECORDS[0], spec=changed)], "warm")
    assert [f"{part}.code=edited" in table.title for table in found] == [len(t.rows) == 1 for t in found]


def on_data(data: str | None, runs: list[Record]) -> list[Record]:
    return [run.with_provenance(data=data) for run in runs]


@pytest.mark.parametrize("data", ["fedcba9876543210", None])
def test_runs_on_other_data_are_never_averaged_or_paired(data: str | None) -> None:
    found = build_tables([*RECORDS[:4], *on_data(data, RECORDS[4:])], "warm")
    shown = "fedcba987654" if data else "unknown"
    assert [f"(data={shown})" in table.title for table in found] == [len(t.rows) == 1 for t in found]
    assert [f"(data={ORIGIN['data'][:12]})" in t.title for t in found] == [len(t.rows) == 2 for t in found]
    assert {row.seeds for table in found for row in table.rows} == {(0, 1, 2), (0,), (1, 2)}
    assert all("runs of this setting on other data have a table of their own" in t.notes[-1] for t in found)
    mixed = aggregate(build_tables([*RECORDS, *on_data(data, RECORDS)], "warm"))
    assert mixed is not None
    assert (mixed.rows, "more than one data set under one setting" in mixed.note) == ((), True)
    frame = to_dataframe([*RECORDS, *on_data(data, RECORDS)])
    assert frame.groupby("condition_id").size().tolist() == [12, 12]
    assert "data=" not in only(RECORDS).title


def test_one_name_with_two_settings_shows_what_differs() -> None:
    weak = replace(RECORDS[3].spec, method=Part("new", {"strength": 0.5}, "c"))
    rows = only([*RECORDS, replace(RECORDS[3], spec=weak)]).rows
    assert [row.method for row in rows] == ["new[strength=0.5]", "new[strength=1]", "warm"]


def test_one_seed_has_no_interval() -> None:
    table = only([RECORDS[0], RECORDS[3]])
    assert "+10.00 |" in markdown(table)
    assert math.isnan(table.rows[0].last.sd)


def test_without_the_baseline_there_are_no_gains() -> None:
    table = only([r for r in RECORDS if r.spec.method.name == "new"])
    assert table.baseline is None
    assert "gain" not in markdown(table).split("accuracy:")[0]
    assert "no gains over warm, the baseline: it has no finished run in this setting; add it to the" in (
        markdown(table)
    )


def test_why_there_is_no_comparison_is_said() -> None:
    tuned = [
        one.with_provenance(
            tuned={"study": "s", "trials": 2, "trial": trial, "instead_of": {"learning_rate": 0.1}}
        )
        for one, trial in ((record("warm", 0, [0.5, 0.6], learning_rate=0.2), 1), (RECORDS[0], 0))
    ]
    diverged = [record("cold", seed, [0.5], status="diverged") for seed in range(3)]
    table = only([*tuned, *RECORDS[3:], *diverged], cost_reference="cold")
    assert table.missing.keys() == {"baseline", "cost_reference"}
    assert "warm (tuned, 2 trials" in table.missing["baseline"]
    assert table.missing["cost_reference"].endswith("no cost to match it: every run of cold diverged")
    assert only(RECORDS).missing == {}
    assert all(note in markdown(table) for note in table.missing.values())


def test_without_the_baseline_that_nobody_wants_nothing_is_said() -> None:
    assert only(RECORDS, baseline=None).missing == {}


@pytest.mark.parametrize(
    ("named", "columns"),
    [
        ("last accuracy %, TFLOPs", ["last_accuracy", "flops"]),
        ("gain over warm,p vs cold", ["gain_over_baseline", "p_vs_cost_reference"]),
        ("Gain over baseline", ["gain_over_baseline"]),
        ("cost to match cold,Peak Memory MB,energy kJ", ["cost_to_match", "peak_memory", "energy"]),
        ("average_accuracy_mean,gain_over_baseline_p", ["average_accuracy", "p_vs_baseline"]),
        ("n,relative-passes", ["n", "relative_passes"]),
    ],
)
def test_columns_are_named_by_name_heading_or_csv_key(named: str, columns: list[str]) -> None:
    references = {"baseline": "warm", "cost_reference": "cold"}
    assert select_columns("wide", named, references) == ("method", *columns)


def test_csv_and_json_have_the_columns_that_are_named() -> None:
    found = build_tables([*RECORDS, *COLD], "warm", "cold")
    columns = ["n", "average_accuracy", "p_vs_baseline", "relative_passes", "steps"]
    header = render_tables(found, "csv", columns).splitlines()[0].split(",")
    parts = ("n", "mean", "sd", "low", "high")
    accuracy = [f"average_accuracy_{part}" for part in parts]
    gain = [f"gain_over_baseline_{part}" for part in (*parts, "p", "noninferiority_p")]
    wanted = ["setting", "method", "n", "diverged", *accuracy, "steps", "relative_passes", *gain]
    assert sorted(header) == sorted(wanted)
    (row, *_) = json.loads(render_tables(found, "json", columns))["tables"][0]["rows"]
    assert (row["cost"], list(row["relative_cost"])) == ({"steps": 20.0}, ["passes"])
    assert len(render_tables(found, "csv").splitlines()[0].split(",")) > 50


def test_every_heading_names_its_column() -> None:
    table = only([*RECORDS, *COLD], cost_reference="cold")
    references = {"baseline": "warm", "cost_reference": "cold"}
    for style in STYLES.values():
        header = format_table(table, style).header
        shown = tuple(available_columns(table, style))
        assert select_columns("wide", ",".join(header), references) == shown


def test_the_same_mean_has_the_same_text_in_every_place() -> None:
    accuracies = [0.97625, 0.975, 0.9775]
    record_of = record("warm", 0, accuracies)
    means = [100 * math.fsum(accuracies) / 3, sum(100 * a for a in accuracies) / 3, record_of.metrics.average]
    assert {percent(mean) for mean in means} == {"97.62"}
    assert percent(97.62500000000001) == percent(97.625) == percent(97.62499999999999)
    assert [percent(-1e-12, "+"), percent(0.125), percent(-1.5, "+")] == ["+0.00", "0.12", "-1.50"]


def test_markdown_is_as_printed() -> None:
    lines = markdown(only(RECORDS)).splitlines()
    assert lines[2].startswith(
        "| method | n | last accuracy % | average accuracy % | gain over warm | steps |"
    )
    assert lines[4].startswith(
        "| new | 3 | 73.33 +- 15.28 | 65.00 +- 5.00 | +10.00 [-2.42, +22.42] | 20 | 200 | 0 |"
    )
    assert any("device a chip; torch 2.11" in line for line in lines)
    assert any(line.startswith("new: strength=1") for line in lines)


def test_csv_and_json_hold_the_same_numbers() -> None:
    found = build_tables(RECORDS, "warm")
    rows = list(csv.DictReader(io.StringIO(render_tables(found, "csv"))))
    plain = json.loads(render_tables(found, "json"))["tables"][0]["rows"]
    assert [row["method"] for row in rows] == [row["method"] for row in plain] == ["new", "warm"]
    assert float(rows[0]["gain_over_baseline_low"]) == plain[0]["gain_over_baseline"]["low"]
    assert rows[1]["gain_over_baseline_mean"] == ""


def test_a_frame_has_a_row_for_every_stage() -> None:
    found = to_dataframe(RECORDS)
    assert len(found) == 12
    assert found.groupby("method")["test_accuracy"].mean().to_dict() == pytest.approx(
        {"new": 0.65, "warm": 0.55}
    )


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12))
def test_the_mean_lies_inside_its_interval(values: list[float]) -> None:
    found = estimate_mean(values)
    assert found.low <= found.mean + 1e-9
    assert found.mean <= found.high + 1e-9
    if found.sd > 1e-6:
        expected = scipy_stats.t.interval(0.95, len(values) - 1, found.mean, scipy_stats.sem(values))
        assert (found.low, found.high) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_an_empty_sample_has_no_mean() -> None:
    assert estimate_mean([]).n == 0
    assert paired_difference([], []).text() == "-"


def test_the_order_of_records_does_not_matter() -> None:
    assert [markdown(table) for table in build_tables(RECORDS, "warm")] == [
        markdown(table) for table in build_tables(RECORDS[::-1], "warm")
    ]
    more = [*RECORDS, record("new", 0, [0.9, 0.9], precision="bf16")]
    assert render_tables(build_tables(more, "warm"), "md") == render_tables(
        build_tables(more[::-1], "warm"), "md"
    )


COLD = [record("cold", seed, [0.5, 0.65 + 0.01 * seed]) for seed in range(3)]


def test_a_test_set_that_grows_gives_no_cost_to_match() -> None:
    grown = [
        replace(one, stages=[{**stage, "num_test": 10 * (stage["index"] + 1)} for stage in one.stages])
        for one in [*RECORDS, *COLD]
    ]
    table = only(grown, cost_reference="cold")
    assert {row.cost_to_match for row in table.rows} == {None}
    column = format_table(table, ["method", "cost_to_match"])
    assert [cells[1].text for cells in column.rows] == ["-"] * 3
    assert any("the number of test examples differs from stage to stage" in note for note in column.notes)
    same = only([*RECORDS, *COLD], cost_reference="cold")
    assert named(same, "new").cost_to_match == pytest.approx(0.78)


@pytest.mark.parametrize("draw", range(8))
def test_the_cost_reference_matches_itself_whatever_the_rounding(draw: int) -> None:
    """In one of these draws a sum divided by n is below the mean that is rounded once."""
    shares = random.Random(draw).choices(range(3000, 5000), k=10)
    runs = [record("cold", seed, [0.2, share / 10_000]) for seed, share in enumerate(shares)]
    assert named(only(runs, cost_reference="cold"), "cold").cost_to_match == pytest.approx(1)


def test_rows_of_different_seeds_are_told_of() -> None:
    runs = [record("warm", seed, [0.2, 0.3]) for seed in (0, 1, 2, 3, 7)]
    runs += [record(name, seed, [0.2, 0.4]) for name in ("cold", "new") for seed in (0, 1)]
    notes = format_table(only(runs, cost_reference="cold"), ["method", "average_accuracy"]).notes
    assert any(
        "different seeds (cold and new: seeds 0 and 1; warm: seeds 0-3 and 7)" in note for note in notes
    )
    same = [run for run in runs if run.spec.seed < 2]
    shown = format_table(only(same, cost_reference="cold"), ["method", "average_accuracy"])
    assert not [note for note in shown.notes if "different seeds" in note]


def test_costs_are_relative_to_the_cost_reference() -> None:
    dear = [
        replace(one, stages=[{**stage, "train_passes": 300, "steps": 20} for stage in one.stages])
        for one in COLD
    ]
    table = only([*RECORDS, *dear], cost_reference="cold")
    row = named(table, "warm")
    assert row.relative_cost["steps"] == 0.5
    assert row.relative_cost["passes"] == pytest.approx(1 / 3)
    assert named(table, "cold").relative_cost["passes"] == 1
    assert named(table, "new").gains["cold"].estimate.mean == pytest.approx(65 - 58)
    # The new method's mean curve is 56.67, 73.33 after 100, 200 passes: cold's last 66 lies between them.
    reached = 100 + 100 * (66 - 170 / 3) / (220 / 3 - 170 / 3)
    assert named(table, "new").cost_to_match == pytest.approx(reached / 600)
    assert row.cost_to_match is None
    assert "never" in markdown(table)


def test_what_was_not_measured_is_absent_and_never_zero() -> None:
    table = only(RECORDS)
    assert named(table, "warm").cost["flops"] is None
    assert " absent |" in markdown(table)
    known = [
        replace(one, stages=[{**s, "train_flops": 1e12, "remedy_flops": 5e11} for s in one.stages])
        for one in RECORDS
    ]
    assert named(only(known), "warm").cost["flops"] == 3e12
    assert named(only([*known[:2], RECORDS[2]]), "warm").cost["flops"] is None


def test_seconds_are_never_averaged_over_hardware() -> None:
    def made(one: Record, device: str, threads: int, seconds: float) -> Record:
        stages = [{**stage, "train_seconds": seconds} for stage in one.stages]
        return replace(one, stages=stages, provenance={**ORIGIN, "device": device, "threads": threads})

    found = [made(one, "a chip", 1, 1.0) for one in [*RECORDS[:2], *RECORDS[3:5], *COLD[:2]]]
    found += [made(one, "a chip", 2, 5.0) for one in (RECORDS[2], COLD[2])]
    table = only(found, cost_reference="cold")
    assert table.hardware == ("a chip, 1 thread", "a chip, 2 threads")
    assert named(table, "warm").cost["train_seconds"] is None
    assert named(table, "warm").cost["steps"] == 20
    assert named(table, "new").cost["train_seconds"] == 2.0
    assert named(table, "new").relative_cost["train_seconds"] is None
    shown = format_table(table, select_columns("wide", "train_seconds,relative_seconds,energy"))
    assert [[cell.text for cell in row] for row in shown.rows] == [
        ["cold", "2.0 (h1) / 10.0 (h2)", "1.00 (h1) / 1.00 (h2)", "absent"],
        ["new", "2.0 (h1)", "1.00 (h1)", "absent"],
        ["warm", "2.0 (h1) / 10.0 (h2)", "1.00 (h1) / 1.00 (h2)", "absent"],
    ]
    assert "h1: a chip, 1 thread; h2: a chip, 2 threads" in " ".join(shown.notes)


def many(seeds: int, gain: float) -> list[Record]:
    noise = [0.001 * (seed % 3) for seed in range(seeds)]
    warm = [record("warm", seed, [0.5, 0.5 + noise[seed]]) for seed in range(seeds)]
    return warm + [record("new", s, [0.5 + gain + noise[s] * (s % 2), 0.5]) for s in range(seeds)]


def test_only_significant_differences_are_bold() -> None:
    few, enough, nothing = only(many(5, 0.1)), only(many(6, 0.1)), only(many(6, 0.0))
    assert named(enough, "new").gains["warm"].p == pytest.approx(2 / 2**6)
    assert "| **+" in markdown(enough)
    assert "**" not in markdown(few)
    assert "n = 5: no difference can reach p < 0.05 after correction for 1 comparison with warm" in markdown(
        few
    )
    assert "that takes at least 6 seeds" in markdown(few)
    assert "**" not in markdown(nothing)


def test_the_family_of_the_correction_is_the_tables_methods() -> None:
    more = [
        *many(6, 0.1),
        *(replace(r, spec=replace(r.spec, method=Part("other", {}, "c"))) for r in many(6, 0.1)[6:]),
    ]
    assert named(only(more), "new").gains["warm"].p == pytest.approx(2 * 2 / 2**6)


def test_latex_is_escaped_and_has_its_rules() -> None:
    found = render_tables(only_list(RECORDS), "latex")
    assert r"\toprule" in found
    assert r"some\_task" in found
    assert r"73.33 $\pm$ 15.28" in found
    assert "%" not in found.replace(r"\%", "").replace("% ", "")


def only_list(records: list[Record]) -> list[ResultTable]:
    return build_tables(records, "warm", "cold")


def test_the_paper_style_has_population_deviations_and_truncated_steps() -> None:
    one = format_table(only(RECORDS), STYLES["paper"])
    row = [cell.text for cell in next(row for row in one.rows if row[0].text == "warm")]
    assert one.header[2:] == ["last test acc", "last steps", "average acc", "average steps"]
    assert row[2:] == ["60.00 (8.16)", "10 (0)", "55.00 (0.00)", "10 (0)"]


def test_the_paper_style_has_the_deviations_that_the_paper_prints() -> None:
    # Five runs whose last stage took 13 or 14 epochs of 391 steps: table 1 of arXiv 2410.23495 prints (156).
    runs = [with_steps("warm", seed, [391 * epochs]) for seed, epochs in enumerate((13, 13, 13, 13, 14))]
    ((_, _, _, last_steps, *_),) = format_table(only(runs), STYLES["paper"]).rows
    assert last_steps.text == "5161 (156)"


def test_every_column_can_be_selected_and_an_unknown_one_is_refused() -> None:
    table = only([*RECORDS, *COLD], cost_reference="cold")
    for name in COLUMNS:
        shown = format_table(table, select_columns("wide", name))
        # Nothing was verified or tuned: there are no such columns.
        width = 1 if name in ("method", "verified") or name.startswith("tuning_") else 2
        assert len(shown.header) == len(shown.rows[0]) == width
    with pytest.raises(RequestError, match="did you mean 'steps'"):
        select_columns("wide", "stps")
    with pytest.raises(RequestError, match="did you mean 'paper'"):
        select_columns("papr", None)


def test_several_tables_are_joined_by_their_common_methods_and_seeds() -> None:
    other = [
        replace(r, spec=replace(r.spec, recipe={**r.spec.recipe, "learning_rate": 0.2})) for r in RECORDS
    ]
    joined = aggregate(only_list([*RECORDS, *other]))
    assert joined is not None
    (row,) = joined.rows
    assert (row.method, row.runs) == ("new", 6)
    # Gains 10, 15, 5 twice: the middle half of six runs, one cut off at each end.
    assert row.iqm_gain.value == pytest.approx(10)
    assert row.mean_gain == pytest.approx(10)
    assert row.iqm_gain.low < row.iqm_gain.value < row.iqm_gain.high
    assert row.p_better == BootstrapEstimate(1.0, 1.0, 1.0)
    assert joined.text_table().rows[0][6].text == "1.00 [1.00, 1.00]"
    tiny = replace(joined, rows=(replace(row, wilcoxon_p=2e-17),))
    assert tiny.text_table().rows[0][7].text == "< 0.001"
    assert "$<$ 0.001" in to_latex(tiny.text_table())
    assert row.mean_rank is None
    assert "at least 5 settings" in joined.note
    assert "over 2 settings" in [shown.title for shown in format_tables(only_list([*RECORDS, *other]))]
    assert (
        json.loads(render_tables(only_list([*RECORDS, *other]), "json"))["aggregates"][0]["rows"][0]["runs"]
        == 6
    )
    assert aggregate(only_list(RECORDS)) is None


CODE_OF_TODAY: dict[str, tuple[Change, str]] = {
    "precision": (
        lambda spec: replace(spec, recipe={**spec.recipe, "precision": "bf16"}),
        "more than one precision (bf16, fp32)",
    ),
    "protocol": (lambda spec: replace(spec, protocol=2), "more than one version of the protocol (1, 2)"),
    "task": (
        lambda spec: replace(spec, task=replace(spec.task, code="u")),
        "more than one version of the code of task some_task (t, u)",
    ),
    "model": (
        lambda spec: replace(spec, model=replace(spec.model, code="u")),
        "more than one version of the code of model some_model (m, u)",
    ),
    "method": (
        lambda spec: replace(
            spec,
            recipe={**spec.recipe, "learning_rate": 0.2},
            method=replace(spec.method, code="u" if spec.method.name == "new" else "c"),
        ),
        "more than one version of the code of method new (c, u)",
    ),
}


@pytest.mark.parametrize("what", CODE_OF_TODAY)
def test_runs_of_another_precision_or_code_are_split_and_no_table_is_over_them(what: str) -> None:
    change, said = CODE_OF_TODAY[what]
    other = [replace(run, spec=change(run.spec)) for run in RECORDS]
    found = only_list([*RECORDS, *other])
    assert [row.seeds for table in found for row in table.rows] == [(0, 1, 2)] * 4
    joined = aggregate(found)
    assert joined is not None
    assert joined.rows == ()
    assert said in joined.note
    for form in ("md", "latex", "json"):
        assert said in render_tables(found, form)


def test_two_versions_of_a_methods_code_are_two_rows() -> None:
    edited = [replace(r, spec=replace(r.spec, method=replace(r.spec.method, code="u"))) for r in RECORDS[3:]]
    assert [row.method for row in only([*RECORDS, *edited]).rows] == ["new[code=c]", "new[code=u]", "warm"]
