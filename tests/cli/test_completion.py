"""Completion in a shell: what is offered, for every plug-in, without importing one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete, get_completion_class
from support.commands import command, plugin
from support.reports import a_home, some_runs

from plastibench.cli import shells
from plastibench.cli.main import cli
from plastibench.plugins.fields import own_choices, setting_names
from plastibench.plugins.plugin import KINDS
from plastibench.plugins.read_settings import read_class, read_settings
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.registry import Registry

Ask = Callable[[str], list[str]]
VARIABLE = "_PLASTIBENCH_COMPLETE"
HEAVY = ("torch", "mlflow", "optuna", "pandas", "numpy", "scipy", "rich", "methods", "tasks")


def a_shell(name: str) -> ShellComplete:
    cls = get_completion_class(name)
    assert cls is not None
    assert cls.__module__ == shells.__name__
    return cls(cli, {}, "plastibench", VARIABLE)


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Return what takes a line up to the cursor, without the program, and returns what may follow."""

    def offered(line: str, shell: str = "bash") -> list[str]:
        monkeypatch.setenv(VARIABLE, f"{shell}_complete")
        monkeypatch.setenv("COMP_WORDS", f"plastibench {line}")
        asked = a_shell(shell)
        return [item.value for item in asked.get_completions(*asked.get_completion_args())]

    return offered


@pytest.mark.parametrize("kind", KINDS)
def test_settings_read_from_the_source_are_those_of_the_class(kind: str, registry: Registry) -> None:
    for name in registry.names(kind):
        found = read_settings(registry.get(kind, name).tree(), KINDS[kind].contract)
        cls = registry.load(kind, name)
        assert found is not None, name
        assert list(found.settings) == setting_names(cls), name
        assert found.presets == dict(getattr(cls, "presets", {})), name
        for setting, values in own_choices(cls).items():
            assert set(values) == set(found.settings[setting]), (name, setting)


def test_the_recipe_is_read_with_its_choices() -> None:
    found = read_class("plastibench.plugins.recipe:Recipe").settings
    assert list(found) == setting_names(Recipe)
    listed = {name: set(values) for name, values in found.items() if set(values) - {"none"}}
    assert listed == {name: set(values) for name, values in own_choices(Recipe).items()}
    assert found["max_steps"] == ("none",)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ru", ["run"]),
        ("new me", ["method"]),
        ("run --met", ["--method"]),
        ("run --method das", ["dash"]),
        ("run --method warm,das", ["warm,dash"]),
        ("run --method=warm,das", ["warm,dash"]),
        ("run --method dash:dash_2024_", ["dash:dash_2024_low"]),
        ("run --task dig", ["digits"]),
        ("run --probe dead", ["dead_units"]),
        ("run field", ["field-quick"]),
        ("run --device cu", ["cuda"]),
        ("run --set learn", ["learning_rate="]),
        ("run --set dash.fl", ["dash.floor="]),
        ("run --set das", ["dash."]),
        ("run --set optimizer=ada", ["optimizer=adam", "optimizer=adamw"]),
        ("run --set dash.batch_norm=ke", ["dash.batch_norm=keep"]),
        ("run --set regime=buf", ["regime=buffer"]),
        ("run --model mlp_bn --set wid", ["width="]),
        ("table --columns seconds,sam", ["seconds,samples"]),
        ("table --format la", ["latex"]),
        ("list mod", ["models"]),
        ("theory --set gam", ["gamma="]),
        ("bench --method al", ["all"]),
        ("completion z", ["zsh"]),
    ],
)
def test_words_are_completed(line: str, expected: list[str], ask: Ask) -> None:
    assert ask(line) == expected


def test_ids_of_runs_and_files_with_plugins_are_completed(tmp_path: Path, ask: Ask) -> None:
    home = a_home(tmp_path, some_runs(2))
    ids = sorted(path.parent.name for path in home.rglob("run.json"))
    assert ask(f"verify --home {home} ") == ids
    assert ask(f"resume --home {home} {ids[0][:5]}") == ids[:1]
    assert ask(f"verify --home {tmp_path / 'none'} ") == []
    file = plugin(tmp_path, "my_idea", "strength: float = 1.0")
    assert ask(f"run --plugin {file} --method my_") == ["my_idea"]
    assert ask(f"run --plugin {file} --method my_idea --set my_idea.str") == ["my_idea.strength="]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_shells_that_replace_a_word_get_the_whole_word_and_what_it_is(
    shell: str, ask: Callable[..., list[str]], registry: Registry
) -> None:
    assert ask("run --method=warm,das", shell) == ["--method=warm,dash"]
    assert ask("run --set dash.fl", shell) == ["dash.floor="]
    answer = a_shell(shell)
    (item,) = answer.get_completions(["run", "--method"], "das")
    assert registry.get("method", "dash").summary() in answer.format_completion(item)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_printed(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script = command("completion", shell).out
    assert f"{VARIABLE}={shell}_complete" in script
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    assert command("completion").out == script
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    refused = command("completion")
    assert (refused.status, refused.out) == (2, "")
    assert "no completion for the shell 'tcsh' (there are: bash, zsh, fish)" in refused.err


ASK_BASH = """
eval "$(cat script)"
COMP_LINE="plastibench $1" COMP_POINT=${#COMP_LINE} COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2))
compopt() { echo "option $*"; }
_plastibench_completion plastibench
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("line", "words", "expected"),
    [
        # bash gives words split at = and :, and wants what replaces the last of them
        (
            "run --set dash.fl",
            ["plastibench", "run", "--set", "dash.fl"],
            ["option -o nospace", "dash.floor="],
        ),
        ("run --set optimizer=sa", ["plastibench", "run", "--set", "optimizer", "=", "sa"], ["sam"]),
        ("run --method dash:per", ["plastibench", "run", "--method", "dash", ":", "per"], ["permuted"]),
    ],
)
def test_bash_completes_behind_signs_that_split_words(
    line: str, words: list[str], expected: list[str], tmp_path: Path
) -> None:
    (tmp_path / "script").write_text(command("completion", "bash").out)
    starter = tmp_path / "plastibench"
    starter.write_text(
        f'#!/bin/sh\nexec {sys.executable} -X importtime -m plastibench "$@" 2>{tmp_path}/imported\n'
    )
    starter.chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", ASK_BASH, "bash", line, *words],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == expected, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in (tmp_path / "imported").read_text().splitlines()}
    assert "plastibench.cli.completion" in imported
    assert imported & set(HEAVY) == set()
