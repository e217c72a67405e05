"""Forms, workflows and the citation file are valid, and say what the package says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import plastibench

ROOT = Path(__file__).parents[2]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FIELDS = {
    "markdown": "value",
    "textarea": "label",
    "input": "label",
    "dropdown": "label",
    "checkboxes": "label",
}
"""What GitHub knows in a form, and which attribute each must have."""
ATTRIBUTES = {"label", "description", "placeholder", "value", "render", "options", "multiple", "default"}


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_one_that_github_takes(path: Path) -> None:
    form = load(path)
    assert set(form) <= {"name", "description", "title", "labels", "assignees", "projects", "type", "body"}
    assert all(form[key] for key in ("name", "description", "body"))
    fields = form["body"]
    ids = [field["id"] for field in fields if field["type"] != "markdown"]
    assert len(set(ids)) == len(ids) > 0
    for field in fields:
        assert set(field) <= {"type", "id", "attributes", "validations"}
        assert field["attributes"][FIELDS[field["type"]]]
        assert set(field["attributes"]) <= ATTRIBUTES
        options = field["attributes"].get("options", [])
        assert bool(options) == (field["type"] in ("dropdown", "checkboxes"))
        if field["type"] == "dropdown":
            assert all(isinstance(option, str) for option in options), "YAML takes yes and no for booleans"
            assert len(set(options)) == len(options)
        if field["type"] == "checkboxes":
            assert all(option["label"] for option in options)


def test_there_is_a_form_for_a_remedy_a_result_and_a_bug() -> None:
    assert {path.stem for path in FORMS} >= {"new_remedy", "new_result", "bug"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_jobs_with_steps_and_as_few_rights_as_it_needs(path: Path) -> None:
    workflow = load(path)
    assert dict[Any, Any](workflow)[True], "YAML takes the key `on` for true"
    assert workflow["permissions"].get("contents", "none") in ("none", "read")
    for job in workflow["jobs"].values():
        assert job["runs-on"]
        assert 0 < job["timeout-minutes"] <= 180
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])
        uses = [step["uses"] for step in job["steps"] if "uses" in step]
        assert all(re.search(r"@(v\d|release/v\d)", action) for action in uses), uses


def test_every_script_that_a_workflow_starts_is_there_and_can_be_started() -> None:
    commands = [
        step.get("run", "")
        for path in WORKFLOWS
        for job in load(path)["jobs"].values()
        for step in job["steps"]
    ]
    scripts = {ROOT / word for command in commands for word in command.split() if word.startswith(".ci/")}
    assert scripts
    assert all(script.stat().st_mode & 0o111 for script in scripts)


def test_what_is_tested_is_what_is_declared() -> None:
    declared = project()
    prefix = "Programming Language :: Python :: 3."
    minors = [int(line.removeprefix(prefix)) for line in declared["classifiers"] if line.startswith(prefix)]
    tested = load(ROOT / ".github" / "workflows" / "test.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert tested == [f"3.{minor}" for minor in minors]
    assert declared["requires-python"] == f">=3.{min(minors)}"


def test_the_citation_is_of_this_version_and_has_what_the_format_demands() -> None:
    citation, declared = load(ROOT / "CITATION.cff"), project()
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert (citation["cff-version"], citation["type"]) == ("1.2.0", "software")
    assert str(citation["version"]) == plastibench.__version__
    assert citation["title"] == declared["name"]
    assert citation["license"] == declared["license"]
    assert [author["name"] for author in citation["authors"]] == [who["name"] for who in declared["authors"]]


def test_publishing_needs_no_password_and_nothing_but_the_packages_that_were_checked() -> None:
    jobs = load(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert "permissions" not in jobs["build"]
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    assert not [step for step in jobs["publish"]["steps"] if "run" in step]
