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
from dataclasses import replace
from pathlib import Path

from plastibench.errors import RequestError, count, explain
from plastibench.runner.workspace import Workspace
from plastibench.store.recorded_runs import RecordedRuns
from plastibench.store.records_file import SUFFIX, read_records
from plastibench.workflows.submission_check import (
    SubmissionCheck,
    add_to_board,
    check_submission,
    literal,
)
from plastibench.workflows.verify import Verification, VerifyRequest, save_marks, verify
from plastibench.workflows.verify_sample import Draw, why_not_runnable

BOARDS = Path("results/records")


def main() -> int:
    options = parse()
    try:
        board = options.board or BOARDS / f"{read_records(options.file).board.name}{SUFFIX}"
        check = check_submission(options.file, board)
        check = with_runs_that_stay_unverified(check, options)
        results = [] if check.problems else repeat(check, options)
    except RequestError as error:
        return finish(options, f"**Not accepted**: {literal(explain(error))}\n", accepted=False)
    accepted = not check.problems and all(one.verdict in ("equal", "within spread") for one in results)
    text = comment(check, results, options, accepted=accepted)
    if accepted and options.add:
        text += f"\n{add_to_board(options.file, board)} runs added to {board}\n"
        save_marks(board.parent, results)
    return finish(options, text, accepted=accepted)


def with_runs_that_stay_unverified(check: SubmissionCheck, options: argparse.Namespace) -> SubmissionCheck:
    """Say which new runs nobody can run again here: a problem, unless that is accepted."""
    source = RecordedRuns.from_paths([options.file])
    new = [record for record in source.records() if record.id in check.new]
    reasons = why_not_runnable(source, Workspace().registry, new, trusted=options.run_plugins)
    if not reasons or not options.sample:
        return check
    text = f"{len(reasons)} of {len(new)} new runs cannot be run again: {next(iter(reasons.values()))}"
    if options.self_reported:
        return replace(check, notes=[*check.notes, f"self-reported: {text}"])
    return replace(check, problems=[*check.problems, f"{text}; --self-reported accepts them as they are"])


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
        "--self-reported", action="store_true", help="accept new runs that cannot be run again here"
    )
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument(
        "--other-data", action="store_true", help="run again on these data even if runs were made on others"
    )
    parser.add_argument("--add", action="store_true", help="add the runs to the board if they are accepted")
    parser.add_argument("--comment", type=Path, help="write the text to this file, too")
    return parser.parse_args()


def repeat(check: SubmissionCheck, options: argparse.Namespace) -> list[Verification]:
    """Run a sample of the new runs again; none if none can be, and that is accepted."""
    if not options.sample:
        return []
    folders = {} if options.data is None else {"data": options.data}
    request = VerifyRequest(
        workspace=Workspace(**folders),
        records=(options.file,),
        sample=Draw(max(options.sample, check.num_rows), options.seed, frozenset(check.new)),
        run_plugins=options.run_plugins,
        other_data=options.other_data,
    )
    try:
        return verify(request)
    except RequestError:
        if options.self_reported:
            return []
        raise


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


def finish(options: argparse.Namespace, text: str, *, accepted: bool) -> int:
    print(text, end="")
    if options.comment is not None:
        options.comment.write_text(text, encoding="utf-8")
    return 0 if accepted else 1


if __name__ == "__main__":
    sys.exit(main())
