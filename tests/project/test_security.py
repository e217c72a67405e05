"""What docs/security.md promises: each sentence there has a test, here or where its subject is tested."""

from __future__ import annotations

import ast
import json
import re
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import SMALL, command, plugin, small_run
from support.stores import a_spec, finish

from plastibench.data.image_files import decode_image
from plastibench.errors import DataError
from plastibench.store.record import content_digest
from plastibench.store.run_store import Store

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle", "yaml"}
HOSTILE = (
    "../../evil",
    "/tmp/evil",
    "..",
    "a/../../evil",
    "a\0b",
    "x" * 5000,
    "\u202e\U0001f600",
    "$(evil)",
    "~/evil",
)


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Yield the name and the tree of every file of the program."""
    for folder in ("plastibench", "methods", "tasks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Yield (file, what is called, the call)."""
    for name, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield name, ast.unparse(node.func), node


def imports(tree: ast.Module) -> set[str]:
    """Return the first part of every name that a file imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_every_promise_names_one_test_and_every_test_here_keeps_one() -> None:
    promises = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("- ")]
    named = [re.findall(r"`([\w/]+\.py)::(\w+)`$", line) for line in promises]
    assert [line for line, found in zip(promises, named, strict=True) if len(found) != 1] == []
    tests = [found[0] for found in named]
    assert len(set(tests)) == len(tests), "two sentences lean on one test"
    for file, test in tests:
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert f"\ndef {test}(" in text, f"{file} has no {test}"
    here = re.findall(r"\ndef (test_\w+)", Path(__file__).read_text(encoding="utf-8"))[1:]
    assert sorted(test for file, test in tests if file == f"project/{Path(__file__).name}") == sorted(here)


@pytest.mark.heavy
def test_nothing_unpickles_but_the_reader_of_cifar() -> None:
    picklers = {name: ast.unparse(tree) for name, tree in sources() if imports(tree) & PICKLES}
    # A fingerprint of an object is written by a Pickler and never read; an error is only named.
    named = picklers.pop("plastibench/standalone/checkpoint.py")
    assert re.findall(r".*pickle.*", named) == ["from pickle import UnpicklingError"]
    # A node of a Ray cluster reads what its driver sends through Ray, whose code it executes anyway.
    ray = {name for name in picklers if name.startswith("plastibench/runner/executors/ray/")}
    assert ray == {f"plastibench/runner/executors/ray/{name}.py" for name in ("node", "submission")}
    assert sorted(picklers.keys() - ray) == [
        "plastibench/data/cifar.py",
        "plastibench/training/fingerprint.py",
    ]
    assert not re.search(r"Unpickler|loads?\(", picklers["plastibench/training/fingerprint.py"])
    loads = [call for _, what, call in calls() if what == "torch.load"]
    assert loads
    for call in loads:
        assert {word.arg: ast.unparse(word.value) for word in call.keywords}["weights_only"] == "True"
    arrays = [call for _, what, call in calls() if what in ("np.load", "numpy.load")]
    allowed = [
        ast.unparse(word.value) for call in arrays for word in call.keywords if word.arg == "allow_pickle"
    ]
    assert set(allowed) <= {"False"}


@pytest.mark.heavy
def test_no_archive_is_unpacked() -> None:
    unpacking = ("extract", "extractall", "unpack_archive")
    assert [(name, what) for name, what, _ in calls() if what.rpartition(".")[2] in unpacking] == []


def _png(width: int, height: int) -> bytes:
    def part(name: bytes, content: bytes) -> bytes:
        head = struct.pack(">I", len(content)) + name + content
        return head + struct.pack(">I", zlib.crc32(name + content))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", size) + part(b"IDAT", zlib.compress(b"")) + part(b"IEND", b"")


def test_image_of_billions_of_pixels_is_refused() -> None:
    with pytest.raises(DataError, match="decompression bomb"):
        decode_image(_png(60_000, 60_000), "small.png")


def test_plugin_that_is_not_named_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "sprung"
    trap = f"import pathlib\npathlib.Path({str(mark)!r}).touch()\nclass Mine(Method): pass\n"
    lying = [tmp_path, tmp_path / "home", tmp_path / "data", tmp_path / "home" / "runs"]
    for folder in lying:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "trap.py").write_text(trap)
    installed = tmp_path / "trap-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: trap\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[plastibench.methods]\ntrap = trap\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert small_run(tmp_path / "home", "--method", "warm", "--data", tmp_path / "data").status == 0
    for words in (["list"], ["table", "--home", tmp_path / "home"], ["status", "--home", tmp_path / "home"]):
        answer = command(*words)
        assert answer.status == 0, answer.err
        assert not mark.exists(), words
    assert "trap" in command("list").out, "it is there to be named"
    small_run(tmp_path / "home", "--method", "trap")
    assert mark.exists()


@pytest.mark.heavy
def test_no_shell_is_started() -> None:
    shells = ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "pty.spawn")
    for name, what, call in calls():
        assert what not in shells, name
        assert "subprocess_shell" not in what, name
        assert not any(word.arg == "shell" for word in call.keywords), name
        if what.startswith("subprocess.") and call.args:
            assert not isinstance(call.args[0], ast.Constant | ast.JoinedStr | ast.BinOp), name


NOTED = """
note: str = ""
def after_stage(self, learner): assert self.note is not None
"""


@pytest.mark.heavy
def test_names_and_settings_stay_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here = tmp_path / "some" / "home", tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    file = plugin(tmp_path, "mine", NOTED)
    before = {*tmp_path.rglob("*")}
    for text in HOSTILE:
        for words in (
            ["--method", text],
            ["--task", text],
            ["--model", text],
            ["--recipe", text],
            ["--set", f"{text}=1"],
            ["--set", f"stages={text}"],
        ):
            assert small_run(home, *words).status == 2, words
        for verb in ("verify", "resume"):
            assert command(verb, text, "--home", home).status == 2
        words = ["--plugin", str(file), "--method", "mine", "--set", f"mine.note={text}"]
        assert small_run(home, *words).status in (0, 2)
    found = [
        path for path in {*tmp_path.rglob("*")} - before if path.is_file() and "__pycache__" not in path.parts
    ]
    assert found
    for path in found:
        assert re.fullmatch(r"runs/(\w\w)/\1[0-9a-f]{14}/[\w.]+|[\w.]+", str(path.relative_to(home))), path


def test_run_file_speaks_for_its_own_folder_alone(tmp_path: Path) -> None:
    record = finish(Store(tmp_path), a_spec())
    (path,) = tmp_path.rglob("run.json")
    whole = json.loads(path.read_text())
    del whole["digest"]
    for forged in ({"id": "../../evil"}, {"id": "0" * 16}, {"spec": a_spec(1).as_dict()}):
        plain = whole | forged
        path.write_text(json.dumps(plain | {"digest": content_digest(plain)}))
        store = Store(tmp_path)
        assert store.read(record.id) is None
        assert path in store.damaged
    path.write_text("[" * 100_000)
    store = Store(tmp_path)
    assert (store.read(record.id), len(store.damaged)) == (None, 1)


def test_run_connects_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def connect(self: socket.socket, address: object) -> None:
        asked.append(address)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect)
    assert small_run(tmp_path, "--method", "warm").status == 0
    assert command("table", "--home", tmp_path).status == 0
    assert asked == []


@pytest.mark.heavy
def test_password_of_a_tracking_address_is_neither_shown_nor_kept(tmp_path: Path) -> None:
    word = "s3cr3t-word"
    for scheme in ("http", "postgresql"):
        words = ["--tracking-uri", f"{scheme}://me:{word}@127.0.0.1:9/x", "--home", tmp_path]
        grid = [*SMALL, "--seeds", 1, "--method", "warm"]
        answer = command("run", *words, *grid) if scheme == "http" else command("sync", *words)
        assert answer.status == (0 if scheme == "http" else 2), answer.err
        assert word not in answer.err + answer.out
    assert [
        path for path in tmp_path.rglob("*") if path.is_file() and word.encode() in path.read_bytes()
    ] == []
