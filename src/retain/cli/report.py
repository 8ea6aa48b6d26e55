"""`retain report`: the report of a run again from its records, or a comparison of several runs."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from retain.cli.help_text import ALL, add_argument, plain_parser

HELP = "Write the report of a run again, or compare several runs."


def make_parser(topic: str = ALL) -> ArgumentParser:
    """The verb's options."""
    example = "retain report runs/lora runs/vefa other/result.json --output runs/compared"
    parser = plain_parser("RUN… [--output FOLDER]", HELP + " Loads no model.", example, topic)
    text = (
        "Folder with a result.json (and items.jsonl), such a record file by any name, or the folder of a comparison. "
        "One run is reported, several are compared. Records of other tools count where they follow the schema "
        "(docs/reference/result.md)."
    )
    add_argument(parser, "runs", text, nargs="+", type=str, metavar="RUN")
    text = "Folder for the report. [RUN, if it is one run or comparison]"
    add_argument(parser, "--output", text, type=str, metavar="FOLDER")
    return parser


def run(given: Namespace) -> None:
    """Do it, print the paths of all files, the page last."""
    from retain.cli.screen import make_console, show_paths
    from retain.jobs.report import report

    show_paths(make_console(), report(given.runs, given.get("output")))
