"""The texts of `--help`: verbs in the order of work, common options first, the others by topic."""

from __future__ import annotations

import difflib
import re
import shutil
import textwrap
from argparse import SUPPRESS, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from jsonargparse import ArgumentParser
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from retain.errors import InputError
from retain.recipe.marks import COMMON

ALL = "all"
"""The topic of the help that shows every flag."""

HELP_COLUMN = 29
"""Column at which explanations of options begin."""

VERB_COLUMN = 14
"""Column at which explanations of verbs begin."""


_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "dict": "fields with values, as --{name}.FIELD VALUE",
}
"""Words for the types that a parser checks."""


class VerbParser(ArgumentParser):  # type: ignore[misc]  # jsonargparse is untyped here
    """jsonargparse's parser, whose errors name flags and not types of Python."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print an error in plain words, and exit with code 2."""
        unknown = message.removeprefix("unrecognized arguments: ")
        super().error(_in_words(message) if unknown == message else self._unknown(unknown.split()), ex)
        raise AssertionError  # jsonargparse has left the program

    def _unknown(self, words: Sequence[str]) -> str:
        """A clause for each flag that this verb does not have, with the nearest; else one on words too many."""
        known = [flag[2:] for flag in self._option_string_actions if flag.startswith("--")]
        told = []
        for flag in (word.partition("=")[0] for word in words if word.startswith("-")):
            name = flag.lstrip("-").partition(".")[0].lower().replace("_", "-")
            near = [f"--{one}" for one in difflib.get_close_matches(name, known, n=2)]
            hint = f"did you mean {' or '.join(near)}?" if near else f"{self.prog} --help all lists them"
            told.append(f"{flag}: is no flag of {self.prog}; {hint}")
        return "\n       ".join(told) or f"more arguments than are read: {' '.join(words)}"


def _in_words(message: str) -> str:
    """An error of the parser: --rank: expected a whole number (found 'x')."""
    found = re.match(r"Parser key \"([^\"]+)\":\s+Expected an? <class '(\w+)'>\. Got value: (.*)", message)
    if not found or found[2] not in _TYPES:
        return message
    name = found[1].replace("_", "-")
    return f"--{name}: expected {_TYPES[found[2]].format(name=name)} (found {found[3]!r})"


class Formatter(RawDescriptionHelpFormatter):
    """Argparse's formatter, with room for the longest flags and the lines of a description as they are."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=HELP_COLUMN)


def make_verb_parser(arguments: str, description: str, example: str, more: str = "") -> ArgumentParser:
    """A verb's parser without arguments yet.

    Args:
        arguments: what may follow the verb, for the usage.
        description: of the verb.
        example: a command, which names the verb.
        more: a text before the example.
    """
    verb = example.split()[1]
    return VerbParser(
        prog=f"retain {verb}",
        usage=f"retain {verb} {arguments}",
        description=wrapped(description),
        epilog=more + wrapped(f"Example: {example}"),
        formatter_class=Formatter,
        add_help=False,
        allow_abbrev=False,
    )


def plain_parser(arguments: str, description: str, example: str, topic: str) -> ArgumentParser:
    """The parser of a verb whose few options have no topics, with `--help` only.

    Raises:
        InputError: a topic was named all the same.
    """
    if topic not in {COMMON, ALL}:
        raise InputError(f"--help {topic}: this verb has no topics; say --help alone.")
    parser = make_verb_parser(arguments, description, example)
    add_help(parser)
    return parser


def add_argument(group: Any, name: str, text: str, *, shown: bool = True, **options: Any) -> None:
    """Add an argument to a group (or parser) with a text that the help shows, or does not."""
    group.add_argument(name, help=text.replace("%", "%%") if shown else SUPPRESS, **options)


def add_help(group: Any, *, shown: bool = True) -> None:
    """Add `--help`."""
    group.add_argument("-h", "--help", action="help", help="Show this help and exit." if shown else SUPPRESS)


def wrapped(text: str, indent: str = "", first: str = "") -> str:
    """A text in lines of the terminal's width.

    Args:
        text: one paragraph.
        indent: before each line but the first.
        first: before the first line.
    """
    width = max(40, shutil.get_terminal_size().columns - 2)
    return textwrap.fill(text, width, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False)


def topics_text(verb: str, topics: Mapping[str, Sequence[str]]) -> str:
    """One line (or two) for each topic that a help does not show: its name and its flags."""
    if not topics:
        return ""
    width = max(map(len, topics)) + 4
    lines = [wrapped(" ".join(flags), " " * width, f"  {topic}".ljust(width)) for topic, flags in topics.items()]
    return "\n".join([f"more options (retain {verb} --help TOPIC, or --help all):", *lines, "", ""])


def default_text(field: FieldInfo) -> str:
    """A field's default in brackets; empty where there is none, or where the description tells it."""
    default = field.get_default(call_default_factory=True)
    described = (field.description or "").endswith("]")
    if described or default is PydanticUndefined or default is None or default is False or default in ((), {}, ""):
        return ""
    if isinstance(default, dict):
        return f"[{default['name']}]"
    values = default if isinstance(default, tuple) else (default,)
    return f"[{','.join(_shown(value) for value in values)}]"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def help_topic(arguments: Sequence[str]) -> tuple[list[str], str]:
    """The arguments of a verb without the topic that follows `--help`, and that topic.

    Without a topic the common options are shown; without `--help` the topic has no effect.
    """
    words = list(arguments)
    place = next((place for place, word in enumerate(words) if word in {"-h", "--help"}), None)
    if place is None or len(words) == place + 1 or words[place + 1].startswith("-"):
        return words, COMMON
    return [*words[: place + 1], *words[place + 2 :]], words[place + 1]


def overview(summaries: Mapping[str, str]) -> str:
    """The help of `retain` itself.

    Args:
        summaries: one line for each verb, in the order of work.
    """
    lines = [
        "usage: retain VERB [RECIPE.yaml] [--FLAG VALUE …]",
        "",
        wrapped("Fine-tune a pretrained model without losing what it knew, and prove it."),
        "",
        "verbs, in the order of work:",
        *(wrapped(text, " " * VERB_COLUMN, f"  {verb}".ljust(VERB_COLUMN)) for verb, text in summaries.items()),
        "",
        wrapped("Start with `retain check RECIPE.yaml`, then `retain tune RECIPE.yaml`."),
        wrapped("`retain VERB --help` shows its common options, `--help all` every option."),
        wrapped(
            "Exit codes: 0 done; 1 failed; 2 bad input; 3 something was lost, or a budget could not be kept; "
            "4 too few items to say; 130 interrupted."
        ),
    ]
    return "\n".join(lines)
