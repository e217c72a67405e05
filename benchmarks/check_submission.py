"""Check a submitted records file as public CI does: structure, rules, a sample of rows run again.

    python benchmarks/check_submission.py mine.jsonl.xz --board results/records/field-cpu.jsonl.xz --sample 3
    python benchmarks/check_submission.py mine.jsonl.xz --board results/records/field-cpu.jsonl.xz --add

prints the difference to the board in Markdown. With `--add` the runs are added to the board afterwards;
`make results` then makes its tables. Exit status 0: accepted; 1: not.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import traceback
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from plastibench.errors import RequestError, count, explain
from plastibench.runner.context import RunContext
from plastibench.runner.workspace import Workspace
from plastibench.store.recorded_runs import RecordedRuns
from plastibench.store.records_file import SUFFIX, read_records
from plastibench.workflows.kept_plugins import with_plugins_of_runs
from plastibench.workflows.submission_check import (
    SubmissionCheck,
    add_to_board,
    check_submission,
    literal,
)
from plastibench.workflows.verify import Verification, VerifyRequest, save_marks, verify
from plastibench.workflows.verify_sample import Draw, why_no_data, why_not_runnable

BOARDS = Path(__file__).parents[1] / "results" / "records"


def main() -> int:
    options = parse()
    try:
        accepted, text = judge(options)
    except RequestError as error:
        accepted, text = False, f"**Not accepted**: {literal(explain(error))}\n"
    except Exception as error:  # whatever a hostile file causes: its author is told
        traceback.print_exc()
        accepted, text = False, f"**Not accepted**: the check itself failed: {literal(explain(error))}\n"
    print(text, end="")
    if options.comment is not None:
        options.comment.write_text(text, encoding="utf-8")
    return 0 if accepted else 1


def judge(options: argparse.Namespace) -> tuple[bool, str]:
    """Return whether a file is accepted, and a comment; add its runs to the board if that is asked for."""
    board = options.board or BOARDS / f"{read_records(options.file).board.name}{SUFFIX}"
    check, runnable = with_unrepeatable_runs(check_submission(options.file, board), options)
    results = [] if check.problems or not runnable else repeat(check, runnable, board, options)
    accepted = not check.problems and all(one.verdict in ("equal", "within spread") for one in results)
    text = comment(check, results, options, accepted=accepted)
    if accepted and options.add:
        save_marks(board.parent, results)
        text += f"\n{add_to_board(options.file, board)} runs added to {board}\n"
    return accepted, text


def with_unrepeatable_runs(
    check: SubmissionCheck, options: argparse.Namespace
) -> tuple[SubmissionCheck, Collection[str]]:
    """Say which new runs nobody can run again here: a problem, unless that is accepted. Return the others."""
    if check.problems or not options.sample:
        return check, ()
    source, where = RecordedRuns.from_paths([options.file]), workspace(options)
    new = [record for record in source.records() if record.id in check.new]
    unfit = why_not_runnable(source, where.registry, new, trusted=options.run_plugins)
    # That data are missing here says nothing of a run: a failed download must not waive its repetition.
    fit = [record for record in new if record.id not in unfit]
    with_plugins = with_plugins_of_runs(where, [record.spec for record in fit], source)
    missing = why_no_data(fit, RunContext(with_plugins, "cpu"))
    check = with_reasons(check, unfit, "--self-reported", accepted=options.self_reported)
    check = with_reasons(check, missing, "--without-data", accepted=options.without_data)
    return check, [record.id for record in fit if record.id not in missing]


def with_reasons(
    check: SubmissionCheck, reasons: Mapping[str, str], option: str, *, accepted: bool
) -> SubmissionCheck:
    """Add why runs cannot be run again: to the notes if that is accepted, or else to the problems."""
    if not reasons:
        return check
    text = f"{len(reasons)} of {len(check.new)} new runs cannot be run again: {next(iter(reasons.values()))}"
    if accepted:
        return replace(check, notes=[*check.notes, f"self-reported: {text}"])
    return replace(check, problems=[*check.problems, f"{text}; {option} accepts them as they are"])


def workspace(options: argparse.Namespace) -> Workspace:
    """Return where runs find their data."""
    return Workspace() if options.data is None else Workspace(data=options.data)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--board", type=Path, help="default: the one that the file names, in results/records")
    parser.add_argument(
        "--sample",
        type=int,
        default=3,
        help="new runs to run again, at least, and one of every new row; 0: none",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=secrets.randbelow(10**6),
        help="of the draw; default: nobody can foresee it",
    )
    parser.add_argument(
        "--run-plugins", action="store_true", help="execute the source in the file, once read"
    )
    parser.add_argument(
        "--self-reported",
        action="store_true",
        help="accept new runs of another device or version, or of source that is not executed, as they are",
    )
    parser.add_argument(
        "--without-data", action="store_true", help="accept new runs whose data are not here as they are"
    )
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument(
        "--other-data", action="store_true", help="run again on these data even if runs were made on others"
    )
    parser.add_argument("--add", action="store_true", help="add the runs to the board if they are accepted")
    parser.add_argument("--comment", type=Path, help="write the text to this file, too")
    return parser.parse_args()


def repeat(
    check: SubmissionCheck, runnable: Collection[str], board: Path, options: argparse.Namespace
) -> list[Verification]:
    """Run a sample of the new runs again that can be."""
    # With the board's rows, whose spread says how far apart the seeds of a row may be.
    request = VerifyRequest(
        workspace=workspace(options),
        records=(options.file, *([board] if board.exists() else [])),
        sample=Draw(max(options.sample, check.num_rows), options.seed, frozenset(runnable)),
        run_plugins=options.run_plugins,
        other_data=options.other_data,
    )
    return verify(request)


def comment(
    check: SubmissionCheck, results: list[Verification], options: argparse.Namespace, *, accepted: bool
) -> str:
    lines = [f"- run again, {one.verdict}: {literal(detail(one))}" for one in results]
    if results:
        runs = f"{count(len(results), 'run')} of {len(check.new)}"
        lines.append(f"- drawn: {runs}, with `--seed {options.seed}`")
    head = "" if accepted or check.problems else "**Not accepted**: a row is not what was submitted\n\n"
    return f"{head}{check.markdown()}" + "".join(f"{line}\n" for line in lines)


def detail(one: Verification) -> str:
    first = f"; the first difference: {one.differences[0]}" if one.differences else ""
    training = "; its last weights are equal" if one.same_training else ""
    spread = f"; {one.spread.text}" if one.spread is not None else ""
    return f"{one.record.id} {one.record.spec.name}{first}{training}{spread}"


if __name__ == "__main__":
    sys.exit(main())
