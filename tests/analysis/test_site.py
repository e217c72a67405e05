"""A site of boards: made from records files alone, small, with links that stay."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from support.commands import CommandResult, command
from support.recorded import a_file
from support.reports import HOSTILE, a_run, some_runs

from plastibench.analysis.report.board import version_history
from plastibench.analysis.report.site import recipe_label
from plastibench.analysis.tables.table import build_tables
from plastibench.store.tuned_settings import TunedSettings, attach

pytestmark = pytest.mark.heavy

RESULTS = Path(__file__).parents[2] / "results"
MAX_BYTES = 3e6


def site(source: Path, out: Path) -> CommandResult:
    made = command("site", source, "--out", out)
    assert made.status == 0, made.err
    return made


def links(path: Path) -> list[str]:
    return re.findall(r'href="([^"#][^"]*)"', path.read_text(encoding="utf-8"))


def test_the_published_boards_fit_and_all_their_links_lead_somewhere(tmp_path: Path) -> None:
    site(RESULTS, tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
    for page in tmp_path.rglob("*.html"):
        for link in links(page):
            if link.startswith(("data:", "http")):
                continue
            name, _, anchor = map(unquote, link.partition("#"))
            target = (page.parent / name).resolve()
            assert target.is_file(), link
            assert f'id="{anchor}"' in target.read_text(encoding="utf-8") if anchor else True, link
    names = {path.name.partition(".")[0] for path in (RESULTS / "records").glob("*.xz")}
    assert {path.stem for path in (tmp_path / "boards").iterdir()} == names
    for path in (RESULTS / "records").glob("*.xz"):
        assert (tmp_path / "records" / path.name).read_bytes() == path.read_bytes()


def test_a_row_keeps_its_link_when_others_are_added(tmp_path: Path) -> None:
    anchors = []
    for number, methods in enumerate((("warm", "cold", "mine"), ("a", "b", "warm", "cold", "mine"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        a_file(folder / "board.jsonl.xz", some_runs(2, methods))
        site(folder, folder / "site")
        (link,) = re.findall(r'href="([^"]+)">mine<', (folder / "site/index.html").read_text())
        anchors.append(link)
        page = (folder / "site/boards/board.html").read_text()
        assert f'<details id="{link.partition("#")[2]}">' in page
        assert "plastibench table --records board.jsonl.xz" in page
        assert "0.1, protocol 1</td><td>abc</td>" in page  # the history by version
    assert anchors[0] == anchors[1]


def test_a_file_may_have_any_name_and_lie_where_the_site_is_made(tmp_path: Path) -> None:
    path = a_file(tmp_path / "records" / "my #1 board?.jsonl.xz", some_runs(2))
    content = path.read_bytes()
    site(tmp_path, tmp_path)
    assert path.read_bytes() == content
    index, page = ((tmp_path / name).read_text() for name in ("index.html", "boards/my #1 board?.html"))
    assert 'href="boards/my%20%231%20board%3F.html#row-' in index
    assert 'href="records/my%20%231%20board%3F.jsonl.xz"' in index
    assert 'href="../records/my%20%231%20board%3F.jsonl.xz"' in page
    assert "plastibench table --records &#39;my #1 board?.jsonl.xz&#39;" in page


def test_hostile_names_are_text_and_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    a_file(tmp_path / "b.jsonl.xz", [a_run("warm", 0), a_run(HOSTILE, 0, task=HOSTILE), a_run(HOSTILE, 1)])
    site(tmp_path, tmp_path / "site")
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert text.count("<script>") == 1
        assert "alert(1)</script>" not in text
    refused = command("site", tmp_path / "site" / "boards")
    assert (refused.status, len(refused.lines())) == (2, 1)
    assert "no records files (NAME.jsonl.xz) in" in refused.err


def test_the_index_says_which_settings_were_tuned_and_what_that_took(tmp_path: Path) -> None:
    runs = some_runs(2)
    origins = {
        runs[0].variant_id: TunedSettings("s", 8, 0, published=True, passes=5678.0),
        runs[2].variant_id: TunedSettings("s", 8, 3, passes=12345.0),
    }
    for name, tuned in (("without", {}), ("with", origins)):
        (tmp_path / name).mkdir()
        a_file(tmp_path / name / "b.jsonl.xz", runs, tuned=tuned)
        site(tmp_path / name, tmp_path / name / "site")
    assert "tuning passes" not in (tmp_path / "without/site/index.html").read_text()
    index = (tmp_path / "with/site/index.html").read_text()
    assert '<th scope="col" data-choice="settings">settings</th><th scope="col">tuning passes</th>' in index
    for settings, passes in (
        ("tuned, 8 trials", "12,345"),
        ("published, the best of 8 trials", "5,678"),
        ("published", "-"),
    ):
        assert f"<td>{settings}</td><td>{passes}</td>" in index
    page = (tmp_path / "with/site/boards/b.html").read_text()
    assert "mine (tuned, 8 trials)" in page
    assert "12,345" in page


def test_the_history_has_the_baseline_alone_and_not_its_tuned_variant() -> None:
    published = some_runs(2, ("warm", "mine"))
    tuned = [a_run("warm", seed, learning_rate=0.5) for seed in range(2)]
    tuned = [replace(run, stages=[{**one, "test_accuracy": 0.9} for one in run.stages]) for run in tuned]
    origin = TunedSettings("s", 8, 3, instead_of={"learning_rate": 0.1})
    records = attach([*published, *tuned], {tuned[0].variant_id: origin})
    (table,) = build_tables(records, "warm")
    (row,) = version_history([table])
    assert (row.num_runs, row.baseline) == (
        6,
        next(r for r in table.rows if r.method == "warm").average.text(),
    )


def test_a_recipe_is_named_with_what_is_unusual() -> None:
    spec = a_run("warm", 0, augment=True, weight_decay=0.0, schedule="cosine").spec
    assert recipe_label(spec) == (
        "optimizer=sgd learning_rate=0.1 precision=fp32 augment=true schedule=cosine"
    )
