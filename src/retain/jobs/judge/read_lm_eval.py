"""What lm-evaluation-harness writes with `--output_path … --log_samples`: a file of samples for each task and run.

`samples_TASK_DATE.jsonl` has one line for each item and each way in which its answer is read (`filter`);
`results_DATE.json` beside it says how the tasks were asked. Read at version 0.4.13.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from retain.errors import InputError
from retain.jobs.harness.samples import answer_of, by_item, chance_of, expected_of, options_of, question_of
from retain.jobs.judge.logs import Answer, Log, LoggedSuite, digest_of, hash_of, listing, mapping, named, plain_text
from retain.records.reading import parse_json

_SAMPLES = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)\.jsonl")
_NO_METRICS = frozenset(
    {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"}
    | {"doc_hash", "prompt_hash", "target_hash"}
)
"""Fields of a sample that are none of its metrics, for versions that do not list these."""

_TOLD = {"model_dtype": "dtype", "device": "device", "batch_size": "batch size"}
"""Fields of a run's configuration that are told where the two sides differ in them."""


def recognises(path: Path) -> bool:
    """True for a folder with samples or results of the harness, and for one file of samples."""
    if path.is_file():
        return _SAMPLES.fullmatch(path.name) is not None or _is_sample(path)
    return any(_files(path)) or any(path.glob("results_*.json")) or any(path.glob("*/results_*.json"))


def read(path: Path, wanted: Sequence[str] = ()) -> Log:
    """Read the newest run of each task.

    Args:
        path: the folder given as `--output_path`, the model's folder in it, or one file of samples.
        wanted: names of the tasks that are read. [all]

    Raises:
        InputError: there are no samples, those of several models, or something is no sample.
    """
    files = [path] if path.is_file() else list(_files(path))
    if not files:
        raise InputError(
            f"{path}: holds results of lm-evaluation-harness, but no samples_*.jsonl: an item's own score is needed. "
            "Run it again with --log_samples."
        )
    places = sorted({file.parent for file in files})
    if len(places) > 1:
        found = named([place.name for place in places])
        raise InputError(f"{path}: holds the samples of several models ({found}); give the folder of one.")
    newest, notes = _newest(files)
    chosen = {task: file for task, file in newest.items() if not wanted or task in wanted}
    results = {task: _results(file) for task, file in chosen.items()}
    suites: dict[str, LoggedSuite] = {}
    problems: list[str] = []
    for task, file in chosen.items():
        try:
            suites[task] = _suite(task, file, results[task])
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    told = [_told(result) for result in results.values() if result]
    first = next((result for result in results.values() if result), {})
    if missing := [task for task, result in results.items() if not result]:
        notes.append(
            f"{path}: no results_*.json beside the samples of {named(missing)}: few-shot examples, template and "
            "versions are not known there; the prompts are compared."
        )
    digest = digest_of(chosen.values())
    return Log(
        place=str(path),
        program=f"lm-evaluation-harness {first.get('lm_eval_version', '')}".strip(),
        model=_model(first) or places[0].name,
        suites=suites,
        names=tuple(newest),
        groups=_groups(results.values()),
        told={name: plain_text(value) for one in told for name, value in one.items()},
        notes=tuple(notes),
        digest=digest,
    )


def _files(folder: Path) -> Iterator[Path]:
    found = (*folder.glob("samples_*.jsonl"), *folder.glob("*/samples_*.jsonl"))
    return (file for file in sorted(found) if file.is_file())


def _is_sample(path: Path) -> bool:
    """True for a file whose first line is a sample."""
    with path.open("rb") as file:
        line = file.readline(2**24)
    try:
        row = parse_json(line, str(path), finite=False)
    except InputError:
        return False
    return isinstance(row, dict) and {"doc_id", "filtered_resps", "arguments"} <= row.keys()


def _newest(files: Sequence[Path]) -> tuple[dict[str, Path], list[str]]:
    """The newest file of each task, and a note on each task that has several."""
    runs: dict[str, dict[str, Path]] = {}
    for file in files:
        match = _SAMPLES.fullmatch(file.name)
        task, date = (match["task"], match["date"]) if match else (file.stem.removeprefix("samples_"), "")
        runs.setdefault(task, {})[date] = file
    notes = [
        f"{files[0].parent}: holds {len(dated)} runs of {task}; the newest was read ({max(dated)})."
        for task, dated in runs.items()
        if len(dated) > 1
    ]
    return {task: dated[max(dated)] for task, dated in runs.items()}, notes


def _results(samples: Path) -> dict[str, Any]:
    """What `results_DATE.json` of the same run says; empty where there is none."""
    match = _SAMPLES.fullmatch(samples.name)
    found = sorted(samples.parent.glob(f"*_{match['date']}.json")) if match else []
    if not found:
        return {}
    try:
        value = parse_json(found[0].read_bytes(), str(found[0]), finite=False)
    except OSError as error:
        raise InputError(f"{found[0]}: cannot be read ({error.strerror or error}).") from error
    return value if isinstance(value, dict) else {}


def _of_task(results: Mapping[str, Any], part: str, task: str) -> Any:
    return mapping(results.get(part)).get(task)


def _suite(task: str, file: Path, results: Mapping[str, Any]) -> LoggedSuite:
    samples = list(_samples(file))
    if not samples:
        raise InputError(f"{file}: holds no samples.")
    _check_once(samples, file)
    items = by_item(samples)
    declared = mapping(_of_task(results, "higher_is_better", task))
    names = list(next(iter(items.values()))["scores"])
    better = {name: declared.get(name.partition(",")[0]) for name in names}
    version = _of_task(results, "versions", task)
    return LoggedSuite(
        name=task,
        answers=tuple(_answer(key, sample) for key, sample in items.items()),
        metrics=tuple(names),
        higher_is_better={name: value for name, value in better.items() if isinstance(value, bool)},
        chance=chance_of(list(items.values())),
        asked_as={"task version": plain_text(version)} if version is not None else {},
        asked_with=_asked_with(task, results),
        task_type="lm-eval",
        source=f"lm-evaluation-harness, task {task}, version {plain_text(version or '')}".removesuffix(", version "),
        version=plain_text(version or ""),
    )


def _asked_with(task: str, results: Mapping[str, Any]) -> dict[str, str]:
    """What shapes the prompts: few-shot examples, template, system message, the settings of generation."""
    config = mapping(_of_task(results, "configs", task))
    found = {
        "few-shot examples": _of_task(results, "n-shot", task),
        "chat template": results.get("chat_template_sha"),
        "system instruction": results.get("system_instruction_sha"),
        "few-shot examples as turns": results.get("fewshot_as_multiturn"),
        "settings of generation": config.get("generation_kwargs"),
    }
    return {name: plain_text(value) for name, value in found.items() if results}


def _samples(file: Path) -> Iterator[dict[str, Any]]:
    """The samples of a file as the harness has them in memory.

    Raises:
        InputError: a line is no sample; with the first such line.
    """
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                place = f"{file}, line {number}"
                row = parse_json(line, place, finite=False)
                if not isinstance(row, dict) or not {"doc_id", "arguments", "target"} <= row.keys():
                    raise InputError(f"{place}: is no sample of lm-evaluation-harness (doc_id, arguments, target).")
                yield _as_in_memory(row, place)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error}).") from error


def _as_in_memory(row: dict[str, Any], place: str) -> dict[str, Any]:
    """A sample as it was before it was written: arguments as lists, the number of the right option, likelihoods."""
    arguments = _arguments(row["arguments"], place)
    if type(row["doc_id"]) not in (int, str) or not isinstance(row.get("filter", "none"), str):
        raise InputError(
            f"{place}: is no sample of lm-evaluation-harness: doc_id and filter must be a number and text."
        )
    sample = {"filter": "none", **row, "arguments": arguments}
    listed = row.get("metrics")
    sample["metrics"] = [
        name for name in row if (name in listed if isinstance(listed, list) else name not in _NO_METRICS)
    ]
    target = row["target"]
    if isinstance(target, str) and re.fullmatch(r"\d{1,3}", target) and options_of(sample):
        sample["target"] = int(target)
    sample["filtered_resps"] = [_response(response) for response in listing(row.get("filtered_resps"))]
    return sample


def _arguments(given: Any, place: str) -> list[list[Any]]:
    """`{gen_args_0: {arg_0: …, arg_1: …}, …}`, or lists as earlier versions wrote them, in order."""
    found = [_in_order(one) for one in _in_order(given)]
    if not found or not all(request and isinstance(request[0], str) for request in found):
        raise InputError(f"{place}: arguments: expected the requests to the model, each beginning with its text.")
    return found


def _in_order(given: Any) -> list[Any]:
    if isinstance(given, dict):
        return [given[key] for key in sorted(given, key=lambda key: int(f"0{re.sub(r'[^0-9]', '', key)}"))]
    return list(given) if isinstance(given, list) else []


def _response(response: Any) -> Any:
    """A likelihood with whether it is the greedy answer, which are written as text; else the response."""
    if isinstance(response, list) and len(response) == 2 and response[1] in ("True", "False"):
        try:
            return [float(response[0]), response[1] == "True"]
        except (TypeError, ValueError):
            return response
    return response


def _check_once(samples: Sequence[Mapping[str, Any]], file: Path) -> None:
    seen: set[tuple[str, str]] = set()
    twice = []
    for sample in samples:
        key = (json.dumps(sample["doc_id"]), str(sample["filter"]))
        if key in seen:
            twice.append(key[0])
        seen.add(key)
    if twice:
        raise InputError(
            f"{file}: item {named(list(dict.fromkeys(twice)))} stands there twice; which answer counts cannot be known."
        )


def _answer(key: Any, sample: Mapping[str, Any]) -> Answer:
    numbers = {name: value for name, value in sample["scores"].items() if isinstance(value, (int, float))}
    return Answer(
        id=str(key),
        asked=hash_of(sample["arguments"]),
        question=question_of(sample),
        expected=expected_of(sample),
        answer=answer_of(sample),
        scores={name: float(value) for name, value in numbers.items()},
    )


def _groups(results: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """The tasks and groups of each group, of all runs that were read."""
    found: dict[str, dict[str, None]] = {}
    for result in results:
        for group, members in mapping(result.get("group_subtasks")).items():
            if isinstance(members, list) and members:
                found.setdefault(group, {}).update(dict.fromkeys(map(str, members)))
    return {group: tuple(members) for group, members in found.items()}


def _told(results: Mapping[str, Any]) -> dict[str, Any]:
    config = mapping(results.get("config"))
    found = {name: config.get(field) for field, name in _TOLD.items()}
    found |= {"longest sequence": results.get("max_length"), "lm-eval": results.get("lm_eval_version")}
    found["transformers"] = results.get("transformers_version")
    return {name: value for name, value in found.items() if value is not None}


def _model(results: Mapping[str, Any]) -> str:
    """The tuned part where there is one (peft=…), else the model."""
    arguments = mapping(results.get("config")).get("model_args")
    if isinstance(arguments, str):
        arguments = dict(part.split("=", 1) for part in arguments.split(",") if "=" in part)
    arguments = mapping(arguments)
    named_model = arguments.get("peft") or arguments.get("pretrained") or arguments.get("model")
    return str(named_model or results.get("model_name") or "")
