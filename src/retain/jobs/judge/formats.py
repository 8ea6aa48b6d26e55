"""The table of formats, each read by one file; the first row that recognises a path reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from retain.data.places import missing_sentence
from retain.errors import InputError, sentence
from retain.jobs.judge import read_inspect, read_lm_eval, read_record, read_rows
from retain.jobs.judge.logs import Log
from retain.records.paths import expanded


@dataclass(frozen=True)
class Format:
    """A format of logs.

    Attributes:
        title: as messages name it.
        recognises: whether a path is such a log.
        read: reads it, or only the suites that are wanted.
    """

    title: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, Sequence[str]], Log]


FORMATS = (
    Format("a run of retain (result.json, items.jsonl)", read_record.recognises, read_record.read),
    Format("an output folder of lm-evaluation-harness (--log_samples)", read_lm_eval.recognises, read_lm_eval.read),
    Format("a log of inspect_ai (.eval, .json), or a folder of them", read_inspect.recognises, read_inspect.read),
    Format(
        "rows of {id, correct|score|prediction and label} (JSONL, CSV, Parquet)", read_rows.recognises, read_rows.read
    ),
)
"""All formats."""


def log_problem(output: str, logs: Sequence[str]) -> list[str]:
    """The reason why a record cannot be written into a folder: a log lies there, which nobody could read any more.

    Args:
        output: the folder.
        logs: that are judged.
    """
    folder = expanded(output)
    if not folder.is_dir():
        return []
    if any(folder.resolve() == read_record.folder_of(expanded(log)).resolve() for log in logs):
        return [f"output: {output} is one of the two logs; give another."]
    if not read_record.recognises(folder):
        programs = [one for one in (read_lm_eval, read_inspect) if one.recognises(folder)]
        return [f"output: {output} holds logs, which would be taken for the record; give another."] if programs else []
    return []


def read_log(place: str | Path, wanted: Sequence[str] = ()) -> Log:
    """Read a log of any format.

    Args:
        place: a file or folder.
        wanted: names of the suites that are read. [all]

    Raises:
        InputError: there is nothing, or it is of no format that is read.
    """
    path = expanded(place)
    try:
        found = next((one for one in FORMATS if one.recognises(path)), None)
        if found is not None:
            return found.read(path, wanted)
        if not path.exists():
            raise InputError(sentence(f"{path}: {missing_sentence(path)}"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    titles = "; ".join(one.title for one in FORMATS)
    raise InputError(f"{path}: is no log that is read. Give one of: {titles}.")
