"""The shell steps of the submission workflow, run in a repository as GitHub has it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

WORKFLOW = Path(__file__).parents[2] / ".github" / "workflows" / "submission.yml"
FILE = "results/submitted/mine.jsonl.xz"


def step(job: str, name: str) -> str:
    """Return the script of a step."""
    steps = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"][job]["steps"]
    (script,) = [one["run"] for one in steps if one.get("name") == name]
    return str(script)


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path, **files: str) -> str:
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "a")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout of a board's repository, with a file that was refused earlier."""
    folder = tmp_path / "work" / "checkout"
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    commit(folder, **{"results/submitted/refused.jsonl.xz": "old", "Makefile": "ours"})
    return folder


def run(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    words = ["bash", "-e", "-o", "pipefail", "-c", script]
    env = {**os.environ, **variables}
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("others", "status"), [({}, 0), ({"Makefile": "theirs"}, 1)])
def test_the_files_of_a_pull_request_are_taken_and_nothing_else(
    checkout: Path, tmp_path: Path, others: dict[str, str], status: int
) -> None:
    theirs = tmp_path / "origin"
    git(tmp_path, "clone", "-q", str(checkout), "origin")
    git(theirs, "checkout", "-q", "-b", "fork")
    commit(theirs, **{FILE: "new", **others})
    git(theirs, "checkout", "-q", "main")
    git(theirs, "merge", "-q", "--no-ff", "-m", "merge", "fork")
    git(theirs, "update-ref", "refs/pull/7/merge", "HEAD")
    git(checkout, "remote", "add", "origin", str(theirs))
    done = run(step("check", "Take the submitted files"), checkout, NUMBER="7")
    assert done.returncode == status, done.stderr
    assert (checkout / "Makefile").read_text() == "ours"
    assert (checkout / "comment" / "number").read_text() == "7\n"
    if status:
        assert "**Not accepted**: the pull request changes other files" in done.stdout
    else:
        assert (checkout / "submitted.txt").read_text() == f"{FILE}\n"
        assert (checkout / FILE).read_text() == "new"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("", "SAID="),
        ("bug\nself-reported", "SAID=--self-reported"),
        ("run-plugins", "SAID=--self-reported"),
        ("not-self-reported", "SAID="),
        ("without-data\nself-reported", "SAID=--self-reported --without-data"),
    ],
)
def test_what_a_maintainer_has_said_of_a_merged_file_counts_for_it_alone(
    checkout: Path, tmp_path: Path, labels: str, expected: str
) -> None:
    before = git(checkout, "rev-parse", "HEAD")
    pushed = commit(checkout, **{FILE: "new"})
    commit(checkout, **{"results/submitted/later.jsonl.xz": "of another push"})
    answer = tmp_path / "bin" / "gh"
    answer.parent.mkdir()
    answer.write_text(f"#!/bin/sh\nprintf '%s\\n' '{labels}'\n", encoding="utf-8")
    answer.chmod(0o755)
    variables = {
        "PATH": f"{answer.parent}:{os.environ['PATH']}",
        "GITHUB_ENV": str(tmp_path / "env"),
        "GITHUB_SHA": pushed,
        "GITHUB_REPOSITORY": "a/b",
        "BEFORE": before,
    }
    done = run(step("add", "What was pushed, and what a maintainer has said of it"), checkout, **variables)
    assert done.returncode == 0, done.stderr
    assert (checkout.parent / "submitted.txt").read_text() == f"{FILE}\n"
    assert (tmp_path / "env").read_text().replace("= ", "=").strip() == expected
