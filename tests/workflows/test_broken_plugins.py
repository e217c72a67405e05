"""Models, tasks and probes that break their contract: one line names the file, what is wrong and allowed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.broken_plugins import HIDDEN, MODELS, OWN, TASKS, VALUES, model, probe, task
from support.commands import command, plugin

NUMBER = re.compile(r"\d+")
QUICK = ("--no-mlflow", "--set", "stages=2", "--set", "max_epochs=1")
SOUND = {"model": model(), "task": task(), "probe": probe()}
OPTIONS = {
    "model": ("--task", "digits", "--set", "train_size=100", "--model", "mine"),
    "task": ("--task", "mine"),
    "probe": ("--task", "digits", "--set", "train_size=100", "--model", "mlp_bn", "--probe", "mine"),
}


def run(folder: Path, kind: str, source: str, seeds: int = 1) -> tuple[int, str, Path]:
    path = plugin(folder, "mine", source=source)
    words = "--plugin", path, *OPTIONS[kind], "--method", "warm", "--seeds", seeds, "--home", folder / "home"
    result = command("run", *words, *QUICK)
    return result.status, result.err, path


def check(folder: Path, source: str) -> tuple[int, str]:
    result = command("check", plugin(folder, "mine", source=source))
    return result.status, result.out + result.err


def the_line(text: str, message: str) -> str:
    """Return the line with a message. Raises AssertionError if there is none."""
    found = [line for line in text.splitlines() if message in line]
    assert found, text
    return found[0]


@pytest.mark.parametrize("kind", SOUND)
def test_without_a_mistake_they_run_and_keep_their_laws(kind: str, tmp_path: Path) -> None:
    status, text, _ = run(tmp_path, kind, SOUND[kind], seeds=2)
    assert status == 0, text
    status, text = check(tmp_path, SOUND[kind])
    assert (status, "failed" in text) == (0, False), text


@pytest.mark.heavy
@pytest.mark.parametrize("name", MODELS)
def test_a_run_names_the_model_and_its_mistake(name: str, tmp_path: Path) -> None:
    source, message = MODELS[name]
    status, text, path = run(tmp_path, "model", source, seeds=2)
    assert status in (1, 2)
    assert f"Mine in {path}" in the_line(text, message)


@pytest.mark.heavy
@pytest.mark.parametrize("name", TASKS)
def test_a_run_names_the_task_and_its_mistake(name: str, tmp_path: Path) -> None:
    source, message = TASKS[name]
    status, text, path = run(tmp_path, "task", source)
    assert status in (1, 2)
    assert str(path) in the_line(text, message.format(f"Mine in {path}"))


@pytest.mark.heavy
@pytest.mark.parametrize("name", VALUES)
def test_a_run_names_the_probe_and_its_mistake(name: str, tmp_path: Path) -> None:
    source, message = VALUES[name]
    status, text, path = run(tmp_path, "probe", source)
    assert status == 1
    assert f"probe mine (Mine in {path})" in the_line(text, message)


@pytest.mark.parametrize("value", ["float('nan')", "3", "True", "torch.tensor(2.0)", "x.mean().numpy()"])
def test_a_number_of_any_type_is_a_measurement(value: str, tmp_path: Path) -> None:
    status, text, _ = run(tmp_path, "probe", probe(f"{{'mean': {value}}}"))
    assert status == 0, text


@pytest.mark.heavy
@pytest.mark.parametrize("name", [*MODELS, *HIDDEN, "a tensor", "labels that it sets"])
def test_a_law_finds_the_mistake_of_a_model_or_a_probe(name: str, tmp_path: Path) -> None:
    source, message = {**MODELS, **VALUES, **HIDDEN}[name]
    status, text = check(tmp_path, source)
    assert status in (1, 2)
    line = the_line(text, message)
    assert line.startswith(("failed", "plastibench: Mine in"))


@pytest.mark.heavy
@pytest.mark.parametrize("name", TASKS)
def test_a_law_finds_the_mistake_of_a_task(name: str, tmp_path: Path) -> None:
    source, message = TASKS[name]
    status, text = check(tmp_path, source)
    assert status == 1
    expected = message.format(f"Mine in {tmp_path / 'mine.py'}")
    line = the_line(NUMBER.sub("#", text), NUMBER.sub("#", expected))  # by default it has other sizes
    assert line.startswith("failed")


def test_a_law_finds_data_that_the_seed_does_not_determine(tmp_path: Path) -> None:
    status, text = check(tmp_path, task(result=OWN, batch="yield x + random.random(), y"))
    assert status == 1
    assert the_line(text, "two streams of seed 0 differ in stage 0").startswith("failed")
