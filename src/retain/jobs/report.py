"""Reports made again from records alone: of one run, or a comparison of several. No model, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from retain.errors import InputError
from retain.jobs.output_place import output_problem
from retain.records.items import Item, unlike_record
from retain.records.lock import output_folder
from retain.records.paths import expanded
from retain.records.reading import parse_json
from retain.records.result import Result, read_result
from retain.report.write import COMPARISON_FILES, REPORT_FILES, holding_problem, write_comparison, write_run_report

MOST_PROBLEMS = 20
"""The most problems of one file that are listed; of more, their number is given."""


def report(runs: Sequence[str | Path], output: str | Path | None = None) -> list[Path]:
    """Write the report of one run, or the comparison of several, from `result.json` and `items.jsonl`.

    Args:
        runs: run folders, record files (a `result.json` by any name), or folders of a comparison, which stand for all
            complete runs in their `runs/`; whichever tool wrote the records. `items.jsonl` may be missing.
        output: where to. Of one folder alone it is that folder; several need one.

    Returns:
        The paths of what was written.

    Raises:
        InputError: with every problem of every record, before anything is written.
    """
    given = [expanded(run) for run in runs]
    problems: list[str] = []
    records = {path: _records(path, problems) for path in given}
    found = [record for of_path in records.values() for record in of_path]
    if len({record.resolve() for record in found}) < len(found) or len(records) < len(given):
        problems.append("a run was given twice; give each once.")
    target = _target(given, output, problems)
    results: dict[Path, Result] = {}
    items: dict[Path, list[Item]] = {}
    for record in found:
        result = _read_record(record, problems)
        folder = _folder(record)
        items[folder] = _read_items(folder / "items.jsonl", result, problems)
        if result is not None:
            results[folder] = result
    is_one = len(given) == 1 and found[:1] in ([given[0]], [given[0] / "result.json"])
    if not problems and not is_one:
        problems += holding_problem(target, ["run.json", "result.json"])
    elif not problems and target.resolve() != _folder(found[0]).resolve():
        problems += holding_problem(target, ["run.json", "result.json", "summary.json", "scaling.json"])
    if problems:
        raise InputError(problems)
    with output_folder(target, REPORT_FILES if is_one else COMPARISON_FILES):
        if is_one:
            return write_run_report(target, results[_folder(found[0])], items[_folder(found[0])])
        return write_comparison(target, results)


def _records(path: Path, problems: list[str]) -> list[Path]:
    """The record files that a path stands for."""
    if path.is_file():
        return [path]
    if (path / "result.json").is_file():
        return [path / "result.json"]
    found = sorted(path.glob("runs/*/result.json"))
    if not path.exists():
        problems.append(f"{path}: there is no such run folder or record file.")
    elif not found:
        problems.append(
            f"{path}: holds no result.json and no runs/NAME/result.json; give the folder of a complete run."
        )
    return found


def _folder(record: Path) -> Path:
    """The folder of a record's items and report; a record file of another name stands for a folder of its own."""
    return record.parent if record.name == "result.json" else record.with_suffix("")


def _target(given: Sequence[Path], output: str | Path | None, problems: list[str]) -> Path:
    if output is not None:
        target = expanded(output)
        problems += output_problem(target if str(output) else "")
        return target
    if not given:
        problems.append("no run was given; give at least one run folder.")
    elif len(given) > 1:
        problems.append("several runs were given and no --output; say where the comparison is to be written.")
    elif given[0].is_file() and given[0].name != "result.json":
        problems.append(f"{given[0]}: a single record file needs --output, the folder for its report.")
    return _folder(given[0] / "result.json" if given[0].is_dir() else given[0]) if given else Path()


def _read_record(record: Path, problems: list[str]) -> Result | None:
    try:
        return read_result(record)
    except InputError as error:
        cause = error.__cause__
        problems += _field_problems(record, cause) if isinstance(cause, ValidationError) else error.problems
    return None


def _read_items(path: Path, result: Result | None, problems: list[str]) -> list[Item]:
    """Every item; none where there is no file."""
    found: list[Item] = []
    damaged: list[str] = []
    if not path.is_file():
        return found
    if result is not None and (reason := unlike_record(path, result.provenance.items_hash)):
        problems.append(reason)
        return found
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                found.append(Item.model_validate(parse_json(line, f"{path}, line {number}")))
            except InputError as error:
                damaged += error.problems
            except ValidationError as error:
                damaged += _field_problems(f"{path}, line {number}", error)[:1]
    problems += _first(damaged, f"{path}: and {{}} more damaged lines.")
    return found


def _field_problems(place: Path | str, error: ValidationError) -> list[str]:
    problems = [
        f"{place}: {'.'.join(map(str, part['loc'])) or 'record'}: {part['msg']}" + _found(part.get("input"))
        for part in error.errors(include_url=False)
    ]
    return _first(problems, f"{place}: and {{}} more.")


def _found(value: object) -> str:
    return f" (found {value!r})." if isinstance(value, (str, int, float)) and len(repr(value)) < 60 else "."


def _first(problems: list[str], more: str) -> list[str]:
    left = len(problems) - MOST_PROBLEMS
    return problems[:MOST_PROBLEMS] + ([more.format(left)] if left > 0 else [])
