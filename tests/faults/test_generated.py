"""Generated arguments, settings, suites, plug-ins and run files: refused in one line, nothing is lost."""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.commands import PLAIN, CommandResult, command
from support.faults import Trial, grid, run_files

from plastibench.store.index.index_file import INDEX_FILE
from plastibench.store.record import content_digest
from plastibench.store.run_store import Store

LIMIT_SECONDS = 60
NUM_EXAMPLES = {"short": 12, "full": 200}
"""Inputs of each of the five kinds."""

ODD_TEXTS = (
    "",
    " ",
    ",",
    "=",
    "..",
    "../..",
    "/",
    "/etc/passwd",
    "~",
    "\0",
    "nan",
    "inf",
    "-1",
    "1e999",
    "9" * 400,
)
STRANGE_TEXTS = (
    "\u202e",
    "\ud800",
    "\U0001f600",
    "{}",
    "[red]",
    "%s",
    "$(touch x)",
    "; ls",
    "x" * 5000,
    "\x1b[2J",
)
TEXT = st.text(max_size=40) | st.sampled_from(ODD_TEXTS + STRANGE_TEXTS)
PLAIN_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = st.recursive(
    PLAIN_VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)
OPTIONS = [
    "--task",
    "--method",
    "--model",
    "--recipe",
    "--probe",
    "--seeds",
    "--device",
    "--set",
    "--plugin",
    "--data",
]
VERBS = ["status", "table", "list", "report", "verify", "resume", "run", "compare", "merge", "frobnicate"]
NAMES = [
    "stages",
    "width",
    "max_epochs",
    "train_size",
    "learning_rate",
    "optimizer",
    "rho",
    "regime",
    "warm.x",
]


CODE = """x: int = 1
x: list = []
x: Nope = 2
x = y
def start(self): pass
def __init__(self): pass
def unsupported(self, task): return 3
def unsupported(self, task): 1 / 0
presets = 3
optimizer_state = 'x'
return 1
1 / 0
import nope
raise SystemExit
raise KeyError('x')
  x"""
"""Lines of a method class."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("finished")
    assert command("run", "--no-mlflow", "--home", home, *grid("warm")).status == 0
    return home


@contextmanager
def time_limit() -> Iterator[None]:
    """Fail if the code inside hangs."""

    def late(sign: int, frame: FrameType | None) -> None:
        raise AssertionError("timed out")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run_command(*args: object) -> CommandResult:
    """Run a command; check its exit status, and that it fails in one line without a traceback."""
    with time_limit():
        answer = command(*args)
    assert answer.status in (0, 1, 2), answer
    assert "Traceback" not in answer.err + answer.out
    assert "prints the traceback" not in answer.err, f"not foreseen: {args}: {answer.err}"
    if answer.status == 2:
        assert len(answer.lines()) == 1, answer.err
        assert answer.err.startswith("plastibench: ")
        assert len(answer.err) < 1500
    return answer


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of the test's own, where a report goes by default."""
    monkeypatch.chdir(tmp_path)


def contents(home: Path) -> dict[Path, bytes]:
    """Return every file of a home but the index, which is a cache."""
    files = (
        path for path in sorted(home.rglob("*")) if path.is_file() and not path.name.startswith(INDEX_FILE)
    )
    return {path: path.read_bytes() for path in files if not path.name.startswith(INDEX_FILE)}


def example_settings(request: pytest.FixtureRequest) -> settings:
    """Return settings that generate the same inputs each time."""
    count = NUM_EXAMPLES[request.config.getoption("--faults")]
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.heavy
def test_arguments_are_accepted_or_refused_in_a_line(
    finished: Path, request: pytest.FixtureRequest, trial: Trial
) -> None:
    before = contents(finished)

    @example_settings(request)
    @given(
        st.sampled_from(VERBS),
        st.lists(st.sampled_from(OPTIONS) | TEXT, max_size=5),
    )
    def holds(verb: str, args: list[str]) -> None:
        with trial("generated words on the command line"):
            # An argument that is always refused: nothing may be executed or written.
            poison = ["--seeds", "none"] if verb == "run" else []
            answer = run_command(verb, *args, *poison, *([] if verb == "list" else ["--home", finished]))
            assert verb != "run" or answer.status != 1
            assert contents(finished) == before

    holds()


@pytest.mark.heavy
def test_settings_are_accepted_or_refused(
    finished: Path, request: pytest.FixtureRequest, trial: Trial
) -> None:
    before = contents(finished)

    @example_settings(request)
    @given(st.sampled_from(NAMES) | TEXT, TEXT | st.integers().map(str) | st.floats().map(str))
    def holds(name: str, value: str) -> None:
        with trial("generated settings"):
            answer = run_command(
                "status", "--task", "digits", "--set", f"{name}={value}", "--json", "--home", finished
            )
            assert answer.status == 2 or len(json.loads(answer.out)["runs"]) > 0
            assert contents(finished) == before

    holds()


def _toml(value: Any) -> str:
    """Return a value as TOML, or what looks like it."""
    return json.dumps(value, ensure_ascii=False) if value is not None else "1979-05-27"


def test_suite_files_are_accepted_or_refused(
    finished: Path, request: pytest.FixtureRequest, trial: Trial
) -> None:
    keys = (
        st.sampled_from(["task", "method", "model", "probe", "recipe", "seeds", "device", "set", "tuned"])
        | TEXT
    )
    tables = st.dictionaries(keys, JSON | st.sampled_from(["digits", "warm", "cold"]), max_size=5)
    before = contents(finished)

    @example_settings(request)
    @given(tables, tables, st.booleans())
    def holds(head: dict[str, Any], body: dict[str, Any], whole: bool) -> None:
        lines = [f"{name} = {_toml(value)}" for name, value in head.items()] if not whole else []
        lines += ["[[grid]]", *(f"{json.dumps(name)} = {_toml(value)}" for name, value in body.items())]
        with trial("generated suite files"), tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "mine.toml")
            file.write_bytes("\n".join(lines).encode("utf-8", errors="surrogatepass"))
            run_command("status", file, "--home", finished)
            assert contents(finished) == before

    holds()


def test_plugin_files_are_accepted_or_refused(
    finished: Path, request: pytest.FixtureRequest, trial: Trial
) -> None:
    before = contents(finished)
    lines = st.sampled_from(CODE.splitlines())

    @example_settings(request)
    @given(st.lists(lines | TEXT, max_size=4), st.booleans())
    def holds(body: list[str], whole: bool) -> None:
        source = (PLAIN if whole else "") + "".join(f"    {line}\n" for line in body)
        with trial("generated plug-in files"), tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "mine.py")
            file.write_bytes(source.encode("utf-8", errors="surrogatepass"))
            run_command(
                "status", "--task", "digits", "--plugin", file, "--method", "mine", "--home", finished
            )
            assert contents(finished) == before

    holds()


def _changed(plain: Any, path: list[int], value: Any) -> Any:
    """Return JSON with one value, at the end of a path, replaced or removed."""
    if not path or not isinstance(plain, dict | list) or not plain:
        return value
    keys = list(plain) if isinstance(plain, dict) else list(range(len(plain)))
    key = keys[path[0] % len(keys)]
    copy = plain.copy()
    if len(path) == 1 and value is None:
        del copy[key]
    else:
        copy[key] = _changed(plain[key], path[1:], value)
    return copy


@pytest.mark.parametrize("forged", [False, True])
def test_run_files_are_trusted_or_reported(
    forged: bool, finished: Path, request: pytest.FixtureRequest, trial: Trial
) -> None:
    (path,) = run_files(finished, "run.json")
    whole = path.read_bytes()
    plain = json.loads(whole)
    del plain["digest"]

    @example_settings(request)
    @given(st.lists(st.integers(0, 60), min_size=1, max_size=4), JSON)
    def holds(where: list[int], value: Any) -> None:
        changed = _changed(plain, where, value)
        try:
            stated = content_digest(changed) if forged else "0" * 16
        except (ValueError, TypeError):  # NaN, which has no digest
            stated = "0" * 16
        text = json.dumps(changed | {"digest": stated} if isinstance(changed, dict) else changed)
        path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
        with trial("generated run files" + (" with a digest that is right" if forged else "")):
            for verb in ("table", "status"):
                answer = run_command(verb, "--home", finished)
                assert verb != "table" or answer.status == 0 or "is damaged" in answer.err, answer
            if not forged and text != whole.decode():
                assert list(Store(finished).records()) == []

    try:
        holds()
    finally:
        path.write_bytes(whole)
