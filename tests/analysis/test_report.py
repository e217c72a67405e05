"""The page: self-contained, honest, escaped, the same bytes from the same runs."""

from __future__ import annotations

import hashlib
import html
import re
import shlex
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.commands import PLAIN, command, plugin, small_run
from support.reports import HOSTILE, ORIGIN, a_home, a_run, some_runs

from plastibench.analysis.figures.render import save_figures
from plastibench.analysis.report.bibliography import bibliography
from plastibench.analysis.report.page import allow_breaks, execution_options, render_page, rerun_command
from plastibench.analysis.report.sentences import aggregate_sentences, headline, setting_sentences
from plastibench.analysis.tables.aggregate import aggregate
from plastibench.analysis.tables.table import build_tables
from plastibench.analysis.tables.text_table import spread_in_small_print, typeset
from plastibench.console import Advance
from plastibench.experiments.grid_plan import Refusal
from plastibench.experiments.spec import Part
from plastibench.plugins.registry import Registry
from plastibench.store.record import Record
from plastibench.store.run_store import Store


class Reader(HTMLParser):
    """Collects what a page would ask for, its ids and its links."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]

    def values(self, *names: str) -> list[str]:
        return [value for name, value in self.attributes if name in names]


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


def words(records: list[object], baseline: str | None = "warm") -> str:
    (table,) = build_tables(records, baseline)  # type: ignore[arg-type]
    return " ".join(setting_sentences(table))


@pytest.fixture(scope="module")
def page() -> str:
    """Return a page of one setting: its figures take a second to draw."""
    return render_page(build_tables(some_runs(), "warm"), "x")


@pytest.fixture(scope="module")
def page_of_two() -> str:
    """Return a page of two settings."""
    return render_page(build_tables([*some_runs(), *some_runs(task="other_task")], "warm"), "x")


@pytest.mark.heavy
def test_a_method_that_cannot_run_has_a_row_without_runs_and_says_why() -> None:
    records = some_runs(2)
    refusal = Refusal(replace(records[0].spec, method=Part("other", {}, "c")), "it needs what nobody has")
    page = render_page(build_tables(records, "warm", "cold", [refusal]), "T")
    assert '<th scope="row">other</th><td>-</td>' in page
    assert "other cannot run here: it needs what nobody has" in page
    assert page.count('<tr><th scope="row"><a href="#row-') == 3


@pytest.mark.heavy
def test_a_run_that_does_not_say_where_it_was_made_is_on_the_page() -> None:
    bare = [replace(record, provenance={}) for record in some_runs(1)]
    assert render_page(build_tables(bare, "warm"), "T").count("<td>-</td><td>-</td></tr>") == 3


def test_a_page_loads_nothing_from_a_network_and_all_its_links_work(page_of_two: str) -> None:
    found = read(page_of_two)
    ids = found.values("id")
    assert len(ids) == len(set(ids))
    for link in found.values("href", "src", "xlink:href"):
        assert link == "data:," or link[1:] in ids, link
    assert "default-src 'none'" in " ".join(found.values("content"))


def test_the_policy_of_a_page_allows_its_own_script_alone(page: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert f"script-src 'sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in page


@pytest.mark.heavy
def test_hostile_names_are_escaped() -> None:
    plain = a_run("mine", 0, note=HOSTILE)
    hostile = replace(
        a_run(HOSTILE, 0), provenance={**plain.provenance, "device": HOSTILE, "commit": HOSTILE}
    )
    tables = build_tables([a_run("warm", 0), hostile, a_run(HOSTILE, 0, task=HOSTILE)], "warm")
    text = render_page(tables, HOSTILE)
    found = read(text)
    assert found.tags["script"] == 1
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert html.escape(HOSTILE, quote=False).split("$")[0] in text


@pytest.mark.heavy
def test_text_from_a_plugin_is_escaped(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    source = PLAIN.replace("import Learner, Method", "import Learner, Method\nfrom typing import Literal")
    source = source.replace("Do nothing", f"{evil} Do nothing").replace('"""A method', f'"""{evil} A method')
    reads = "def after_stage(self, learner):\n    assert self.shape"
    path = plugin(tmp_path, "mine", f'shape: Literal["{evil}", "b"] = "{evil}"\n{reads}', source)
    made = small_run(tmp_path, "--plugin", path, "--method", "warm,mine", "--seeds", "1")
    assert made.status == 0, made.err
    out = tmp_path / "page.html"
    done = command("report", "--home", tmp_path, "--out", out)
    assert done.status == 0, done.err
    text = out.read_text(encoding="utf-8")
    assert html.escape(evil) in text
    assert "img" not in read(text).tags


def test_figures_of_a_page_share_no_style_names(page_of_two: str) -> None:
    names = re.findall(r"\.([\w-]+-\d+)\{", page_of_two)
    assert len(names) > 20
    assert len(names) == len(set(names))


@pytest.mark.heavy
def test_the_summary_has_a_sentence_for_each_setting_and_for_all_of_them(page: str) -> None:
    runs = [run for number in range(2) for run in _clear(f"task_{number}")]
    found = build_tables(runs, "warm")
    assert headline(found[0]).startswith("good has the highest average accuracy, ")
    assert headline(found[0]).endswith(
        " %. Significantly better than warm: good; significantly worse than warm: bad "
        "(level 0.05, Holm-corrected)."
    )
    joined = aggregate(found)
    assert joined is not None
    above, below, ranks = aggregate_sentences(joined)
    assert re.match(
        r"Better than warm over all 2 settings, .*: good \(\+\d.*better in 100 % of pairs of runs \[100, ",
        above,
    )
    assert re.match(r"Worse than warm over all 2 settings, .*: bad \(-\d", below)
    assert ranks.startswith("No mean ranks: Friedman's test needs")
    text = render_page(found, "x")
    assert text.index("Better than warm over all 2 settings") < text.index("<table")
    assert "There is only one setting" in page


def test_the_summary_stays_short_with_many_methods() -> None:
    names = [f"method_{number:02}" for number in range(12)]
    lost = [
        replace(
            run, stages=[{**stage, "test_accuracy": stage["test_accuracy"] - 0.2} for stage in run.stages]
        )
        for run in some_runs(12, names)
    ]
    (table,) = build_tables([*some_runs(12, ["warm"]), *lost], "warm")
    assert "and 9 others (level" in headline(table)
    assert headline(table).count("method_") == 3


def _clear(task: str) -> list[Record]:
    """Return runs of methods that differ by more than their seeds do."""
    shifts = {"warm": 0.0, "good": 0.1, "bad": -0.1}
    return [
        replace(
            run, stages=[{**stage, "test_accuracy": stage["test_accuracy"] + shift} for stage in run.stages]
        )
        for method, shift in shifts.items()
        for run in some_runs(8, [method], task=task)
    ]


def test_minus_signs_are_typographic_and_intervals_are_in_small_print() -> None:
    assert typeset(
        "-1.50 [-2.00, +0.50], a-1, learning_rate=1e-05"
    ) == "~1.50 [~2.00, +0.50], a-1, learning_rate=1e-05".replace("~", "\N{MINUS SIGN}")
    assert spread_in_small_print("61.62 +- 0.16") == "61.62<small> ± 0.16</small>"
    assert spread_in_small_print("<b> (1)") == "&lt;b&gt;<small> (1)</small>"
    assert spread_in_small_print("-") == "-"
    assert allow_breaks("a_<b>") == "a_<wbr>&lt;b&gt;"


def test_the_same_runs_in_any_order_give_the_same_page(page: str) -> None:
    assert render_page(build_tables(some_runs()[::-1], "warm"), "x") == page


@pytest.mark.slow
def test_a_page_of_twenty_methods_six_tasks_and_ten_seeds_is_below_two_megabytes() -> None:
    methods = [f"method_{number:02}" for number in range(20)]
    records = [run for task in range(6) for run in some_runs(10, methods, task=f"task_{task}", stages=10)]
    text = render_page(build_tables(records, "method_00"), "x")
    assert len(text.encode()) < 2_000_000
    assert all(record.id in text for record in records)


def test_one_seed_shows_nothing_and_the_page_says_so() -> None:
    found = words(list(some_runs(1)))
    assert "With one seed there is no standard deviation and no interval" in found
    assert "95 % interval" not in found


def test_sentences_group_methods_by_their_intervals() -> None:
    base = [a_run("warm", seed) for seed in range(4)]

    def shifted(name: str, *by: float) -> list[object]:
        return [
            replace(
                a_run(name, run.spec.seed),
                stages=[{**stage, "test_accuracy": stage["test_accuracy"] + shift} for stage in run.stages],
            )
            for run, shift in zip(base, by, strict=True)
        ]

    found = words(
        [
            *base,
            *shifted("better", 0.05, 0.051, 0.052, 0.05),
            *shifted("worse", -0.05, -0.051, -0.052, -0.05),
            *shifted("open", -0.05, 0.05, -0.05, 0.05),
        ]
    )
    assert re.search(r"Better than warm, with a 95 % interval above 0: better \(\+5\.\d\d \[", found)
    assert re.search(r"Worse than warm, with a 95 % interval below 0: worse \(-5\.\d\d \[", found)
    assert "No clear difference from warm, with a 95 % interval that includes 0: open." in found
    assert "at least one of 3 excludes 0" in found


def test_sentences_name_what_is_missing() -> None:
    assert "No gains over warm, the baseline: it has no finished run" in words(
        list(some_runs(methods=["mine"]))
    )
    lost = words([*some_runs(), replace(a_run("mine", 0), status="diverged")])
    assert "Diverged runs are in no average, which flatters the method: mine (1)" in lost
    other = replace(a_run("new", 0), provenance={**ORIGIN, "device": "another chip"})
    assert "2 kinds of hardware: their seconds are not comparable" in words([*some_runs(), other])


def test_a_page_is_made_where_every_run_diverged() -> None:
    lost = [replace(run, status="diverged") for run in some_runs()]
    assert "Every run of this setting diverged" in render_page(build_tables(lost, "warm"), "x")


@pytest.mark.heavy
def test_the_printed_command_finds_the_very_runs(tmp_path: Path) -> None:
    made = small_run(tmp_path, "--method", "warm,dash", "--seeds", "2-3", "--set", "dash.floor=0.1234")
    assert made.status == 0, made.err
    by_method: dict[str, list[Record]] = {}
    for record in Store(tmp_path).records():
        by_method.setdefault(record.spec.method.name, []).append(record)
    for records in by_method.values():
        line = rerun_command([record.spec for record in records], options=execution_options(records))
        assert " --threads 1" in line
        _, verb, *words = shlex.split(line)
        again = command(verb, "--no-mlflow", "--home", tmp_path, *words)
        assert "all 2 runs are finished already" in again.err, (line, again.err)


def test_the_printed_command_has_what_all_runs_of_a_row_share() -> None:
    runs = [a_run("warm", seed).with_provenance(threads=2, devices=4) for seed in range(2)]
    assert execution_options(runs) == ["--threads", "2", "--devices", "4"]
    other = runs[0].with_provenance(threads=1, deterministic=True, compiler="inductor")
    assert execution_options([*runs, other]) == ["--devices", "4"]
    assert execution_options([other]) == ["--threads", "1", "--devices", "4", "--deterministic", "--compile"]


def test_the_printed_command_has_regime_probes_plugins_and_quoted_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = """words: str = "some"\npair: tuple[int, ...] = (1, 2)\nshare: float | None = 0.5"""
    reads = "def after_stage(self, learner):\n    assert self.words and self.pair, self.share"
    mine = plugin(tmp_path, "mine", f"{fields}\n{reads}")
    text = """it's "$HOME" & more = `x`; #1"""
    settings = {
        "regime": "buffer",
        "buffer": "100",
        "mine.words": text,
        "mine.pair": "7",
        "mine.share": "none",
    }
    asked = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    home = ("--home", tmp_path / "a home")
    made = small_run(
        tmp_path / "a home", "--plugin", mine, "--method", "mine", "--probe", "weight_norm", *asked
    )
    assert made.status == 0, made.err
    line = rerun_command([record.spec for record in Store(tmp_path / "a home").records()])
    program, verb, *words = shlex.split(line)
    assert (program, words.count("--probe")) == ("plastibench", 1)
    monkeypatch.chdir(tmp_path)
    again = command(verb, "--no-mlflow", *home, *words)
    assert "the run is finished already" in again.err, (line, again.err)


def test_every_paper_that_a_method_names_is_cited_once() -> None:
    found = bibliography(["dash", "shrink_perturb", "warm", "nobody"])
    assert found.count("eprint        = {2410.23495}") == 1
    assert "author        = {Shin and others}" in found
    assert "author        = {Ash and Adams}" in found


@pytest.mark.parametrize(
    "source",
    [
        "Li & Ko 2024, arXiv 2401.01234",
        "Li & Ko 2024, arXiv:2401.01234v2",
        "Li & Ko 2024, https://arxiv.org/abs/2401.01234",
        "Li & Ko 2024, http://arxiv.org/pdf/2401.01234v1.pdf",
    ],
)
def test_a_paper_is_cited_however_its_number_is_written(tmp_path: Path, source: str) -> None:
    file = plugin(tmp_path, "mine", source=PLAIN.replace("arXiv 0000.00000", source))
    found = bibliography(["mine"], Registry((file,)).own)
    assert "author        = {Li and Ko}" in found
    assert "url           = {https://arxiv.org/abs/2401.01234}" in found


@pytest.mark.heavy
def test_report_writes_a_page_and_figures(tmp_path: Path) -> None:
    home = a_home(tmp_path / "home", some_runs())
    out, figures = tmp_path / "new" / "page.html", tmp_path / "figures"
    words = ("--home", home, "--out", out, "--figures", figures, "--figure-formats", "svg,pdf", "--dark")
    done = command("report", *words)
    assert done.status == 0, done.err
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert {file.suffix for file in figures.iterdir()} == {".svg", ".pdf"}
    by_day = {file.stem for file in figures.iterdir() if not file.stem.endswith("-dark")}
    assert {file.stem for file in figures.iterdir()} == by_day | {f"{name}-dark" for name in by_day}


class Waited:
    """A wait that is shown to nobody, and remembered."""

    def __init__(self) -> None:
        self.total = self.done = 0

    @contextmanager
    def __call__(self, total: int) -> Iterator[Advance]:
        self.total = total
        yield self.advance

    def advance(self, more: int) -> None:
        self.done += more


@pytest.mark.heavy
def test_progress_counts_the_figures_drawn(tmp_path: Path) -> None:
    found, drawn, saved = build_tables(some_runs(), "warm"), Waited(), Waited()
    text = render_page(found, "x", drawn)
    assert drawn.done == drawn.total == text.count("<figure")
    files = save_figures(found, tmp_path, dark=True, progress=saved)
    assert saved.done == saved.total == len(files) == 2 * drawn.total


@pytest.mark.heavy
def test_progress_of_a_report_is_logged(tmp_path: Path) -> None:
    home = a_home(tmp_path / "home", some_runs())
    done = command(
        "report", "--home", home, "--out", tmp_path / "page.html", "--figures", tmp_path / "figures"
    )
    said = [line for line in done.lines() if line.endswith("...")]
    assert said == [
        "drawing the page's figures ...",
        "drawing figures ...",
    ]


@pytest.mark.heavy
def test_a_damaged_run_is_named_and_left_out(tmp_path: Path) -> None:
    home = a_home(tmp_path / "home", some_runs())
    path = next(home.glob("runs/??/*/run.json"))
    path.write_text("{")
    done = command("report", "--home", home, "--out", tmp_path / "page.html")
    assert done.status == 1
    assert f"{path} is damaged" in done.err
    assert path.parent.name not in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--out", "{tmp}"), "is a folder"),
        (("--out", "{tmp}/file/page.html"), "cannot be written"),
        (("--figure-formats", "gif"), "no figure format named 'gif'"),
        (("--home", "{tmp}/nowhere"), "no finished runs"),
        (("--method", "warm"), "no finished runs of this kind"),
    ],
)
def test_an_invalid_request_prints_one_line(tmp_path: Path, more: tuple[str, ...], said: str) -> None:
    (tmp_path / "file").write_text("")
    home = a_home(tmp_path / "home", some_runs(1))
    done = command("report", "--home", home, *(word.format(tmp=tmp_path) for word in more))
    assert done.status == 2
    assert len(done.lines()) == 1
    assert said in done.err
