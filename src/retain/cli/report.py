"""`retain report`: the report again from a run's records, or a comparison of several runs."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

HELP = "Write the report of one run again, or compare several, from their records alone; loads no model."


def make_parser() -> ArgumentParser:
    """The verb's options."""
    parser = ArgumentParser(
        description=HELP, epilog="Example: retain report runs/lora runs/vefa other/result.json --output runs/compared"
    )
    parser.add_argument(
        "runs",
        nargs="+",
        type=str,
        metavar="RUN",
        help="Folder with a result.json (and items.jsonl), such a record file by any name, or the folder of a "
        "comparison. One run is reported, several are compared. Records of other tools count where they follow the "
        "schema (docs/reference/result.md).",
    )
    parser.add_argument("--output", type=str, help="Folder for the report. [one run or comparison: RUN itself]")
    return parser


def run(given: Namespace) -> None:
    """Do it, print where everything lies."""
    from retain.jobs.report import report

    for path in report(given.runs, given.get("output")):
        print(f"{path.suffix[1:]:<8} {path}")
