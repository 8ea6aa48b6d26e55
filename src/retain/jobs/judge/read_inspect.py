"""Logs of inspect_ai: an `.eval` archive or its `.json` form, one task each, or a folder of them.

Its package is not needed: the header says how the task was run, and each sample is JSON. Read at version 0.3.285.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from retain.errors import InputError
from retain.jobs.judge.inspect_scores import chance_of, metrics_of_words, numbers_of
from retain.jobs.judge.logs import Answer, Log, LoggedSuite, digest_of, hash_of, listing, mapping, named, plain_text
from retain.jobs.judge.zip_members import ZipMembers
from retain.records.reading import parse_json

MOST_BYTES = 2**30
"""The largest `.json` log that is read."""

_OF_THE_CONNECTION = frozenset(
    {"max_retries", "timeout", "attempt_timeout", "stream_idle_timeout", "max_connections", "adaptive_connections"}
    | {"batch", "cache", "cache_prompt", "extra_headers", "fallback_models"}
)
"""Settings of generation that decide how the model is reached, not what it is asked."""


def recognises(path: Path) -> bool:
    """True for a log, and for a folder that holds some."""
    if path.is_dir():
        return any(path.glob("*.eval")) or any(_is_log(file) for file in sorted(path.glob("*.json")))
    return path.suffix == ".eval" or (path.suffix == ".json" and _is_log(path))


def _is_log(path: Path) -> bool:
    """True for a JSON file that begins as a log does."""
    with path.open("rb") as file:
        start = file.read(4096)
    return b'"eval"' in start and b'"status"' in start and b'"version"' in start


def read(path: Path, wanted: Sequence[str] = ()) -> Log:
    """Read the newest complete log of each task.

    Args:
        path: a log, or a folder of logs.
        wanted: names of the tasks that are read. [all]

    Raises:
        InputError: a log is damaged or not complete, or the logs are those of several models.
    """
    files = _files(path)
    headers = {file: _header(file) for file in files}
    newest, notes = _newest(path, headers, wanted)
    names = tuple(dict.fromkeys(_task(file, header) for file, header in headers.items()))
    models = sorted({_model(headers[file]) for file in newest.values()})
    problems = [
        f"{file}: is not complete (status {headers[file].get('status')}); run that task to its end."
        for file in newest.values()
        if headers[file].get("status") != "success"
    ]
    if len(models) > 1:
        problems.append(f"{path}: holds the logs of several models ({named(models)}); give a folder of one model's.")
    suites: dict[str, LoggedSuite] = {}
    for task, file in newest.items():
        try:
            suites[task] = _suite(task, file, headers[file])
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    first = headers[next(iter(newest.values()))] if newest else {}
    packages = mapping(_spec(first).get("packages"))
    return Log(
        place=str(path),
        program=f"inspect_ai {packages.get('inspect_ai', '')}".strip(),
        model=models[0] if models else path.stem,
        suites=suites,
        names=names,
        told={"inspect_ai": plain_text(packages.get("inspect_ai", ""))},
        notes=tuple(notes),
        digest=digest_of(newest.values()),
    )


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted([*path.glob("*.eval"), *(file for file in path.glob("*.json") if _is_log(file))])


def _header(file: Path) -> dict[str, Any]:
    """How the task was run: status, version, eval, plan; of a log that is not complete the beginning alone."""
    if file.suffix == ".json":
        return {key: value for key, value in _whole(file).items() if key != "samples"}
    with ZipMembers(file) as members:
        name = "header.json" if "header.json" in members.names() else "_journal/start.json"
        return mapping(parse_json(members.read(name), f"{file}, {name}", finite=False))


def _whole(file: Path) -> dict[str, Any]:
    try:
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{file}: has {size:,} bytes; convert it (inspect log convert --to eval).")
        return mapping(parse_json(file.read_bytes(), str(file), finite=False))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error}).") from error


def _newest(
    path: Path, headers: Mapping[Path, Mapping[str, Any]], wanted: Sequence[str]
) -> tuple[dict[str, Path], list[str]]:
    """The newest complete log of each task; where none is complete, the newest."""
    runs: dict[str, list[tuple[bool, str, Path]]] = {}
    for file, header in headers.items():
        task = _task(file, header)
        if not wanted or task in wanted:
            runs.setdefault(task, []).append(
                (header.get("status") == "success", str(_spec(header).get("created", "")), file)
            )
    notes = [
        f"{path}: holds {len(found)} logs of {task}; the newest complete one was read ({max(found)[2].name})."
        for task, found in runs.items()
        if len(found) > 1
    ]
    return {task: max(found)[2] for task, found in runs.items()}, notes


def _suite(task: str, file: Path, header: Mapping[str, Any]) -> LoggedSuite:
    samples = list(_samples(file))
    spec = _spec(header)
    if not samples:
        raise InputError(f"{file}: holds no samples.")
    answers = tuple(_answer(sample) for sample in samples)
    plan = mapping(header.get("plan"))
    generation = {**mapping(spec.get("model_generate_config")), **mapping(plan.get("config"))}
    asked = {key: value for key, value in generation.items() if key not in _OF_THE_CONNECTION and value is not None}
    steps = listing(plan.get("steps"))
    return LoggedSuite(
        name=task,
        answers=answers,
        metrics=tuple(dict.fromkeys((*_first(header), *(name for one in answers for name in one.scores)))),
        declared=metrics_of_words(samples),
        chance=chance_of(samples),
        asked_as={
            "task version": plain_text(spec.get("task_version", "")),
            "settings of generation": plain_text(asked),
            "epochs": plain_text(mapping(spec.get("config")).get("epochs") or 1),
        },
        asked_with={
            "solver": plain_text([step.get("solver") for step in steps if isinstance(step, dict)]),
            "arguments of the task": plain_text(spec.get("task_args") or {}),
        },
        task_type="inspect_ai",
        source=f"inspect_ai, task {task}, version {plain_text(spec.get('task_version', ''))}",
        version=plain_text(spec.get("task_version", "")),
    )


def _first(header: Mapping[str, Any]) -> list[str]:
    """Names of scores in the order that the log gives, the headline's first."""
    headline = mapping(_spec(header).get("headline_metric"))
    results = listing(mapping(header.get("results")).get("scores"))
    names = [str(one.get("name")) for one in results if isinstance(one, dict) and one.get("name")]
    wanted = [str(headline[key]) for key in ("score", "scorer") if headline.get(key)]
    return [*(name for name in wanted if name in names), *names]


def _samples(file: Path) -> Iterator[dict[str, Any]]:
    if file.suffix == ".json":
        for sample in listing(_whole(file).get("samples")):
            yield _checked(sample, str(file))
        return
    with ZipMembers(file) as members:
        for name in members.names():
            if name.startswith("samples/") and name.endswith(".json"):
                yield _checked(parse_json(members.read(name), f"{file}, {name}", finite=False), f"{file}, {name}")


def _checked(sample: Any, place: str) -> dict[str, Any]:
    if not isinstance(sample, dict) or type(sample.get("id")) not in (int, str) or "input" not in sample:
        raise InputError(f"{place}: is no sample of inspect_ai (id, epoch, input).")
    return sample


def _answer(sample: Mapping[str, Any]) -> Answer:
    choices = sample.get("choices")
    prompt = _prompt(sample)
    scores = mapping(sample.get("scores"))
    said = next((one.get("answer") for one in scores.values() if isinstance(one, dict) and one.get("answer")), None)
    output = mapping(sample.get("output"))
    stopped = [one.get("stop_reason") for one in listing(output.get("choices")) if isinstance(one, dict)]
    target = sample.get("target")
    epoch = sample.get("epoch")
    return Answer(
        id=str(sample["id"]),
        epoch=epoch if isinstance(epoch, int) else 1,
        asked=hash_of([prompt, choices]),
        question=_shown(prompt),
        expected=" / ".join(map(str, target)) if isinstance(target, list) else None if target is None else str(target),
        answer=str(said) if said is not None else output.get("completion") or None,
        cut_off="max_tokens" in stopped if stopped else None,
        scores=dict(numbers_of(sample)),
        group=str(sample["id"]),
    )


def _prompt(sample: Mapping[str, Any]) -> Any:
    """What the model was first given: the messages before its first answer, else the input. Attachments are put in."""
    attachments = mapping(sample.get("attachments"))
    messages: list[Any] = []
    for message in listing(sample.get("messages")):
        if not isinstance(message, dict) or message.get("role") == "assistant":
            break
        messages.append([message.get("role"), _resolved(message.get("content"), attachments)])
    return messages or _resolved(sample["input"], attachments)


def _resolved(content: Any, attachments: Mapping[str, Any]) -> Any:
    """Content without the ids that differ from run to run, and with what it refers to as `attachment://…`."""
    if isinstance(content, str) and content.startswith("attachment://"):
        return attachments.get(content.removeprefix("attachment://"), content)
    if isinstance(content, list):
        return [_resolved(part, attachments) for part in content]
    if isinstance(content, dict):
        return {key: _resolved(value, attachments) for key, value in content.items() if key != "id"}
    return content


def _shown(prompt: Any) -> str:
    """A prompt as text: messages one below the other, each with its role where there are several."""
    if isinstance(prompt, str):
        return prompt
    parts = [part if isinstance(part, list) and len(part) == 2 else ["", part] for part in prompt]
    texts = [(str(role), content if isinstance(content, str) else plain_text(content)) for role, content in parts]
    return texts[0][1] if len(texts) == 1 else "\n\n".join(f"{role}: {text}" for role, text in texts)


def _spec(header: Mapping[str, Any]) -> dict[str, Any]:
    return mapping(header.get("eval"))


def _task(file: Path, header: Mapping[str, Any]) -> str:
    return str(_spec(header).get("task") or file.stem)


def _model(header: Mapping[str, Any]) -> str:
    return str(_spec(header).get("model", ""))
