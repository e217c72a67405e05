"""Invalid requests: one line on stderr, exit code 2, nothing on disk, no traceback."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from support.commands import PLAIN, SMALL, CommandResult, command, plugin, small_run
from support.reports import a_home, some_runs

from plastibench.store.run_status import run_lock

LONG = "x" * 5000

WRONG: dict[str, tuple[list[str], list[str]]] = {
    "method": (["--method", "wram"], ["no method named 'wram'", "did you mean 'warm'", "dash"]),
    "task": (["--task", "digit"], ["no task named 'digit'", "did you mean 'digits'"]),
    "model": (["--model", "smallresnet"], ["no model named", "'small_resnet'"]),
    "recipe": (["--recipe", "standrd"], ["no recipe of digits named", "'standard'"]),
    "suite": (["quickstrt"], ["no suite named 'quickstrt'", "'quickstart'"]),
    "preset": (["--method", "dash:dash_2023"], ["no preset of dash", "'dash_2024'"]),
    "empty preset": (["--method", "dash:"], ["no preset of dash named ''"]),
    "preset alone": (["--method", ":dash_2024"], ["no method named ''"]),
    "setting": (["--set", "stagess=3"], ["named 'stagess'", "did you mean 'stages'"]),
    "setting of a method without its name": (["--set", "flor=1"], ["'flor'", "did you mean 'dash.floor'"]),
    "setting of a probe without its name": (
        ["--probe", "sharpness", "--set", "tolerence=1"],
        ["did you mean 'sharpness.tolerance'"],
    ),
    "setting of a regime": (["--set", "incremnts=0.5"], ["did you mean 'increments'"]),
    "setting in capitals": (["--set", "STAGES=3"], ["did you mean 'stages'"]),
    "probe": (["--probe", "ded_units"], ["did you mean 'dead_units'"]),
    "regime": (["--set", "regime=bufer"], ["no regime named 'bufer'", "did you mean 'buffer'"]),
    "regime over a regime": (["--set", "regime=label_nois+accumulate"], ["did you mean 'label_noise'"]),
    "setting as an option": (["--stages", "3"], ["No such option: --stages. Did you mean --set stages=...?"]),
    "regime as an option": (["--regime=buffer"], ["Did you mean --set regime=...?"]),
    "setting of a method": (["--set", "dash.flor=1"], ["named 'flor'", "did you mean 'floor'"]),
    "prefix": (["--set", "dahs.floor=1"], ["named 'dahs'", "did you mean 'dash'"]),
    "prefix not in the grid": (
        ["--method", "warm", "--set", "dash.floor=1"],
        ["'dash'", "there are:", "warm"],
    ),
    "type": (["--set", "stages=many"], ["stages=many is not allowed", "a whole number"]),
    "fraction": (["--set", "stages=1.5"], ["stages=1.5 is not allowed"]),
    "range": (["--set", "dash.floor=3"], ["floor=3 is not allowed", "from -1 to 1"]),
    "not a number": (["--set", "learning_rate=nan"], ["learning_rate=nan is not allowed"]),
    "word": (["--set", "optimizer=sdg"], ["optimizer=sdg is not allowed", "did you mean 'sgd'"]),
    "no equals": (["--set", "stages"], ["'--set'", "'stages' is not NAME=VALUE"]),
    "no name": (["--set", "=3"], ["NAME=VALUE"]),
    "method twice": (["--method", "warm,warm"], ["duplicate methods: warm"]),
    "seed twice": (["--seeds", "1,1"], ["duplicate seeds: 1"]),
    "no seeds": (["--seeds", "0"], ["seeds=0 is not allowed", "a range (10-14)"]),
    "empty seeds": (["--seeds", ""], ["seeds= is not allowed"]),
    "backward seeds": (["--seeds", "5-3"], ["seeds=5-3 is not allowed"]),
    "negative seed": (["--seeds", "-1"], ["seeds=-1 is not allowed"]),
    "too many seeds": (["--seeds", "9999999999"], ["at most 10,000"]),
    "endless range": (["--seeds", "0-99999999999999999999999"], ["at most 10,000"]),
    "empty method": (["--method", ""], ["'--method': '' holds no name"]),
    "comma for a method": (["--method", ","], ["'--method': ',' holds no name"]),
    "empty plug-in": (["--plugin", ""], ["'--plugin': the path is empty: write . for the current folder"]),
    "empty data folder": (["--data", ""], ["'--data': the path is empty"]),
    "empty task": (["--task", ""], ["'--task': '' holds no name"]),
    "empty model": (["--model", ""], ["'--model': '' holds no name"]),
    "empty recipe": (["--recipe", ""], ["no recipe of digits named ''"]),
    "empty device": (["--device", ""], ["no device named ''"]),
    "empty suite": ([""], ["no suite named ''"]),
    "device": (["--device", "gpu"], ["no device named 'gpu'; did you mean 'cuda'"]),
    "an abbreviation": (["--set", "lr=1"], ["did you mean 'learning_rate'"]),
    "device number": (["--device", "cpu:3"], ["no device 'cpu:3'"]),
    "precision": (
        ["--set", "precision=tf32"],
        ["precision=tf32 is not allowed on cpu", "did you mean 'fp32'"],
    ),
    "threads": (["--threads", "0"], ["'--threads'", "0 is not in the range x>=1"]),
    "suite and task": (
        ["quickstart", "--task", "digits"],
        ["either a suite (quickstart) or a task (digits)"],
    ),
    "suite file": (["missing.toml"], ["no suite file at missing.toml"]),
    "long suite file": ([LONG + ".toml"], ["no suite file at xxx"]),
    "suite outside": (["../suites/quickstart"], ["no suite named '../suites/quickstart'"]),
    "long method": (["--method", LONG], ["no method named 'xxx"]),
    "long suite": ([LONG], ["no suite named 'xxx"]),
    "strange letters": (["--method", "w\u00e4rm\U0001f600"], ["did you mean 'warm'"]),
    "letters that are none": (["--method", "\udcff"], ["no method named"]),
    "terminal codes": (["--recipe", "\x1b[31m"], ["no recipe of digits"]),
    "two lines": (["--set", "stages=a\nb"], ["stages=a b is not allowed"]),
    "plug-in": (["--plugin", "missing.py"], ["no plug-in file at missing.py"]),
    "long plug-in": (["--plugin", LONG + ".py"], ["no plug-in file at xxx"]),
    "option": (["--methd", "warm"], ["No such option", "--method"]),
    "jobs": (["--jobs", "0"], ["0 is not in the range"]),
    "interval": (["--checkpoint-interval", "often"], ["'often' is not a duration", "such as 60, or never"]),
    "interval that is none": (["--checkpoint-interval", "nan"], ["'nan' is not a duration"]),
    "interval before zero": (["--checkpoint-interval", "-1"], ["'-1' is not a duration"]),
    "endless interval": (["--checkpoint-interval", "inf"], ["'inf' is not a duration"]),
}


def refused(answer: CommandResult, *words: str) -> None:
    assert answer.status == 2, answer
    assert answer.out == ""
    assert len(answer.lines()) == 1, answer.err
    assert answer.err.startswith("plastibench: ")
    assert len(answer.err) < 1000
    assert answer.err.strip().isprintable() or "\udcff" in answer.err
    assert all(word in answer.err for word in words), answer.err


@pytest.mark.parametrize("case", WRONG)
def test_invalid_request_prints_one_line_and_writes_nothing(case: str, tmp_path: Path) -> None:
    words, expected = WRONG[case]
    refused(
        small_run(tmp_path / "home", *(w for w in ("--seeds", "1") if "--seeds" not in words), *words),
        *expected,
    )
    assert not (tmp_path / "home").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_missing_device_is_an_error_and_never_replaced_by_another(tmp_path: Path) -> None:
    refused(
        small_run(tmp_path / "home", "--device", "cuda"), "device 'cuda' cannot be used", "no CUDA device"
    )
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["runn"], "Did you mean 'run'"),
        (["list", "methos"], "did you mean 'methods'"),
        (["list", "dsh"], "did you mean 'dash'"),
        (["table", "--format", "mdd"], "did you mean 'md'"),
        (["table", "--format", ""], "no format named ''"),
        (["doctor", "--device", "cudda"], "did you mean 'cuda'"),
        (["table", "--columns", "relative pases"], "did you mean 'relative_passes'"),
        (["tune", "--method", "shrink_perturb", "--trials", "1", "--tune", "nois"], "'shrink_perturb.noise'"),
        (["tune", "--method", "dash", "--trials", "1", "--objective", "men"], "did you mean 'mean'"),
        (["slurm", "--homes", "sharde"], "did you mean 'shared'"),
        (["ui", "--port", "99999"], "99999 is not in the range"),
    ],
)
def test_invalid_argument_of_another_command_prints_one_line(words: list[str], expected: str) -> None:
    assert expected in command(*words).err
    assert command(*words).status == 2
    assert len(command(*words).lines()) == 1


READS_X = "    def after_stage(self, learner):\n        assert self.x\n"
PLUGINS = {
    "syntax": ("def f(:\n", "SyntaxError"),
    "raises": ("raise ValueError('first\\nsecond')\n", "ValueError: first (raises.py, line 1)"),
    "exits": ("raise SystemExit(3)\n", "SystemExit: 3"),
    "leaves": ("class Odd(BaseException): pass\nraise Odd\n", "Odd"),
    "nothing": ("x = 1\n", "must define one method, task, model, probe or regime: it defines 0"),
    "two": (
        PLAIN + PLAIN.replace("Mine", "Other"),
        "exactly one method, a subclass of Method: it defines Mine, Other",
    ),
    "bare": (PLAIN.replace("@dataclass(kw_only=True)", ""), "Mine in"),
    "warm": (PLAIN, "reuses a name"),
    "my-idea": (PLAIN, "'my-idea' is not a Python identifier"),
    "nul": ("a\0b", "SyntaxError"),
    "annotated": (PLAIN + "    x: Nope = 1\n", "NameError: name 'Nope' is not defined"),
    "open": (PLAIN + READS_X + "    x: float\n", "cannot be made from its defaults"),
    "outside": (PLAIN + READS_X + "    x: int = 1.5\n", "x=1.5 is not allowed"),
    "mutable": (PLAIN + "    x: list[int] = []\n", "mutable default"),
    "refuses": (PLAIN + "    def unsupported(self, task):\n        return task.nothing\n", "AttributeError"),
    "asks": (
        PLAIN + "    def unsupported(self, task):\n        return 'it is too small'\n",
        "it is too small",
    ),
}


@pytest.mark.parametrize("name", PLUGINS)
def test_broken_plugin_prints_one_line_and_writes_nothing(name: str, tmp_path: Path) -> None:
    source, expected = PLUGINS[name]
    file = plugin(tmp_path, name, source=source)
    answer = small_run(tmp_path / "home", "--plugin", file, "--method", name)
    refused(answer, expected)
    assert not (tmp_path / "home").exists()


def test_plugin_that_is_binary_or_a_folder_prints_one_line(tmp_path: Path) -> None:
    (tmp_path / "noise.py").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder.py").mkdir()
    refused(small_run(tmp_path / "home", "--plugin", tmp_path / "noise.py"), "noise.py")
    refused(small_run(tmp_path / "home", "--plugin", tmp_path / "folder.py"), "no plug-in file at")


def test_plugin_given_twice_is_refused(tmp_path: Path) -> None:
    file = plugin(tmp_path, "mine")
    refused(small_run(tmp_path / "home", "--plugin", file, "--plugin", file), "reuses a name")


GRID = '[[grid]]\ntask = "digits"\nmethod = "warm"\n'
SUITES = {
    "not TOML": ("[[grid", "is not TOML"),
    "empty": ("", "has no grid"),
    "grid is no table": ("grid = 3\n", "grid in"),
    "grid is a list of numbers": ("grid = [3]\n", "has no grid"),
    "key": ('sumary = "x"\n' + GRID, "did you mean 'summary'"),
    "key of a grid": (GRID + 'metod = "warm"\n', "did you mean 'method'"),
    "no task": ('[[grid]]\nmethod = "warm"\n', "no tasks given"),
    "method is a number": ('[[grid]]\ntask = "digits"\nmethod = 3\n', "method in"),
    "recipe is a number": (GRID + "recipe = 3\n", "recipe in"),
    "device is a list": (GRID + 'device = ["cpu"]\n', "device in"),
    "seeds are a fraction": (GRID + "seeds = 1.5\n", "seeds in"),
    "seeds are a yes": (GRID + "seeds = true\n", "seeds in"),
    "seed is a fraction": (GRID + "seeds = [1, 1.5]\n", "seeds=[1, 1.5] is not allowed"),
    "seed is negative": (GRID + "seeds = [-3]\n", "seeds=[-3] is not allowed"),
    "seeds are words": (GRID + 'seeds = "three"\n', "seeds=three is not allowed"),
    "set is a list": (GRID + "set = [1]\n", "set in"),
    "setting": (GRID + "set = { stagess = 3 }\n", "did you mean 'stages'"),
    "value": (GRID + "set = { stages = 1979-05-27 }\n", "stages=1979-05-27 is not allowed"),
    "setting twice": (
        GRID + 'set = { "warm.batch_norm" = "keep", warm.batch_norm = "reset" }\n',
        "more than once",
    ),
    "baseline": ("baseline = 3\n" + GRID, "baseline in"),
    "baseline that is no method": ('baseline = "wram"\n' + GRID, "did you mean 'warm'"),
    "cost reference that is no method": ('cost_reference = "clod"\n' + GRID, "did you mean 'cold'"),
    "setting of a method": (GRID + "set = { batchnorm = 3 }\n", "did you mean 'warm.batch_norm'"),
    "probe": (GRID + 'probe = "ded_units"\n', "did you mean 'dead_units'"),
    "device": (GRID + 'device = "cdua"\n', "did you mean 'cuda'"),
    "summary": ("summary = 3\n" + GRID, "summary in"),
    "twice": ('[[grid]]\ntask = "digits"\nmethod = ["warm", "warm"]\n', "duplicate methods: warm"),
    "devices": (GRID + GRID + 'device = "cuda"\n', "names several devices"),
}


@pytest.mark.parametrize("case", SUITES)
def test_broken_suite_file_prints_one_line_and_writes_nothing(case: str, tmp_path: Path) -> None:
    text, expected = SUITES[case]
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="utf-8")
    refused(command("run", file, "--home", tmp_path / "home", "--no-mlflow"), expected)
    assert not (tmp_path / "home").exists()


def test_binary_suite_file_prints_one_line(tmp_path: Path) -> None:
    (tmp_path / "noise.toml").write_bytes(b"\xff\xfe")
    refused(command("run", tmp_path / "noise.toml", "--home", tmp_path / "home"), "is not TOML")


def test_unwritable_home_prints_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(small_run(tmp_path / "file" / "home", "--method", "warm"), "cannot be written", "--home")
    refused(small_run(tmp_path / "file", "--method", "warm"), "is a file")
    refused(small_run(Path("/proc/home"), "--method", "warm"), "cannot be written")
    refused(small_run(tmp_path / ("x" * 500), "--method", "warm"), "cannot be written", "name too long")


def test_table_without_runs_prints_one_line(tmp_path: Path) -> None:
    refused(command("table", "--home", tmp_path), "no finished runs")
    refused(command("table", "quickstart", "--home", tmp_path / "file" / "x"), "no finished runs")


def test_table_names_unfinished_runs_with_the_reason(tmp_path: Path) -> None:
    broken = plugin(tmp_path, "mine", "def before_stage(self, learner):\n    raise ValueError('no [idea]')")
    ask = ("--plugin", broken, "--method", "mine,warm", "--home", tmp_path, *SMALL)
    assert small_run(tmp_path, "--plugin", broken, "--method", "mine").status == 1
    folder = next(tmp_path.glob("runs/??/*"))
    name = "digits small_resnet mine seed 0"
    failed = f"no finished runs of this kind in {tmp_path}: 1 failed ({name}: ValueError: no [idea]"
    refused(command("table", "--home", tmp_path), failed)
    refused(command("table", *ask, "--seeds", 1), failed, "1 queued")
    with run_lock(folder):
        running = f"1 running ({name}: process {os.getpid()} on "
        for verb in (("table",), ("report", "--out", tmp_path / "page.html")):
            refused(command(*verb, "--home", tmp_path), running)
    (folder / "failed.json").unlink()
    refused(command("table", "--home", tmp_path), "1 stopped")


def test_unknown_column_or_style_prints_one_line(tmp_path: Path) -> None:
    refused(command("table", "--columns", "stps", "--home", tmp_path), "did you mean 'steps'")
    refused(command("table", "--style", "papr", "--home", tmp_path), "did you mean 'paper'")
    refused(command("compare", "a", "b", "--format", "mdd"), "did you mean 'md'")


def test_one_seed_has_no_interval_and_a_note_names_it(tmp_path: Path) -> None:
    home = a_home(tmp_path, some_runs(1))
    for form in ("text", "md", "latex"):
        shown = command("table", "--home", home, "--format", form)
        assert shown.status == 0
        assert "[" not in shown.out.replace("[t]", "")
        assert "n = 1: no difference can reach p < 0.05" in shown.out
    row = json.loads(command("table", "--home", home, "--format", "json").out)["tables"][0]["rows"][0]
    assert (row["average_accuracy"]["low"], row["gain_over_baseline"]["low"]) == (None, None)


def test_a_damaged_run_is_named_and_left_out_of_a_table(tmp_path: Path) -> None:
    home = a_home(tmp_path, some_runs(2))
    path = next(home.glob("runs/??/*/run.json"))
    path.write_text(path.read_text().replace('"steps"', '"stps"'))
    done = command("table", "--home", home, "--format", "json")
    assert done.status == 1
    assert f"run file {path} is damaged (ValueError: it was changed after it was written)" in done.err
    seeds = [row["seeds"] for row in json.loads(done.out)["tables"][0]["rows"]]
    assert sorted(map(len, seeds)) == [1, 2, 2]
    for left in home.glob("runs/??/*/run.json"):
        left.write_text("{")
    none = command("table", "--home", home)
    assert (none.status, none.out, len(none.lines())) == (1, "", 6)
