"""`retain gate`: the verdict of finished runs made again from their records, as an exit code. No models, no torch."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from retain.cli.help_text import ALL, add_argument, plain_parser
from retain.errors import InputError
from retain.records.verdicts import Judgement

HELP = "Judge finished runs again from their records, as an exit code."

EXIT_CODES = {"kept": 0, "lost": 3, "changed format": 3, "too few items to say": 4}
GONE_CODES = {"gone": 0, "still there": 3, "only refused": 3, "too few items to say": 4}


def exit_code(judgement: Judgement) -> int:
    """The exit code of a verdict: the worst of what was to be kept and what was to be gone.

    Where only the second was asked, the first has no say.
    """
    codes = [EXIT_CODES[judgement.overall]] if judgement.suites or not judgement.gone else []
    codes += [] if judgement.forgot is None else [GONE_CODES[judgement.forgot]]
    return next(code for code in (3, 4, 0) if code in codes)  # a loss weighs more than too few items


def _overall(judgement: Judgement) -> list[str]:
    """The verdict on what was to be kept, and on what was to be gone, as far as each was asked."""
    kept = f"{judgement.overall}. {judgement.reason}" if judgement.suites or not judgement.gone else ""
    gone = f"{judgement.forgot}. {judgement.forgot_reason}" if judgement.forgot else ""
    return [told for told in (kept, gone) if told]


def make_parser(topic: str = ALL) -> ArgumentParser:
    """The verb's options."""
    description = (
        HELP + " 0: kept, and gone where it should be; 3: lost, changed format or still there; 4: too few items to say."
    )
    parser = plain_parser("RUN…", description, "retain gate runs/measured", topic)
    text = "Folder of a run (result.json, items.jsonl)."
    add_argument(parser, "runs", text, nargs="+", type=str, metavar="RUN")
    text = "Write the verdicts as JUnit XML, which CI systems show: a test for each retention suite."
    add_argument(parser, "--junit", text, type=str, metavar="FILE")
    return parser


def run(given: Namespace) -> int:
    """Print each run's verdict and return the worst exit code."""
    from retain.cli.screen import make_console
    from retain.jobs.junit_file import junit_problem, write_junit
    from retain.jobs.replay_verdict import replayed_record

    if problems := junit_problem(given.get("junit")):
        raise InputError(problems)
    console = make_console()
    codes, results = [], {}
    for folder in given["runs"]:
        results[folder], judgement = replayed_record(folder)
        for told in _overall(judgement):
            console.print(f"{folder}: {told}", markup=False, soft_wrap=True)
        for suite in judgement.suites:
            console.print(f"  {suite.suite}: {suite.verdict}: {suite.reason}", markup=False, soft_wrap=True)
        for gone in judgement.gone:
            console.print(f"  {gone.suite}: {gone.verdict}: {gone.reason}", markup=False, soft_wrap=True)
        codes.append(exit_code(judgement))
    write_junit(given.get("junit"), results)
    return next(code for code in (3, 4, 0) if code in codes)  # a loss weighs more than too few items
