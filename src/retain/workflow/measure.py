"""The report without our training: measure any pair of base and tuned model, from Python or by paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from rich.progress import Progress

from retain.data.examples import parse_choice, parse_example
from retain.data.sources import read_choices, read_examples, read_text, suite_name
from retain.errors import InputError
from retain.evaluation.answers import collect_answers
from retain.evaluation.pair import Pair
from retain.evaluation.runner import Measured, measure_pair
from retain.evaluation.suites import Settings, Suites
from retain.hf.describe import adapter_config, adapter_kind, changed_size, model_hash, parameter_counts
from retain.hf.load import is_adapter, load_adapter
from retain.hf.sides import mutates_base
from retain.recipe import MeasureRecipe
from retain.results import MethodRecord, Parameters, Result
from retain.workflow.models import load_model, load_tokenizer
from retain.workflow.prepare import output_problem, read_suites, settings_of, suite_hashes
from retain.workflow.progress import make_console, showing_progress
from retain.workflow.record import provenance, write_record

Rows = str | Path | Sequence[Mapping[str, Any]]
"""Data by path or data set id, or as rows in memory."""

Row = TypeVar("Row")


def measure(
    base: Any,
    tuned: Any = None,
    *,
    tokenizer: Any,
    test: Rows | None = None,
    keep: Rows | Mapping[str, Rows] | None = None,
    reference: str | Path | None = None,
    output: str | Path | None = None,
    show_progress: bool = True,
    **settings: Any,
) -> Result:
    """The same record that `retain tune` writes, for models that were tuned in any other way.

    Args:
        base: the untouched base model; or a `PeftModel` alone, whose base is seen by switching its adapter off.
        tuned: the tuned model: a `PeftModel` or a whole model. Not needed when `base` is a `PeftModel`.
        tokenizer: the base's tokenizer.
        test: held-out task data: path, data set id, or rows `{"prompt","completion"}` / `{"messages"}`.
        keep: what must stay: path or data set id, or `{suite name: path or rows}` of `{"question","choices","answer"}`.
        reference: path (or data set id) of text on which drift is measured.
        output: folder for `result.json`, `items.jsonl`, report and plot; None writes nothing.
        show_progress: whether bars are shown on a terminal.
        settings: fields of `retain.evaluation.suites.Settings`, as `generate=32` or `reference_tokens=4096`.

    Returns:
        The record. The models come back as they were: mode, adapter state, weights.

    Raises:
        InputError: with every problem of the data; or the base cannot be seen in the model given.
    """
    problems: list[str] = []
    try:
        chosen = replace(Settings(), **settings)
    except TypeError as error:
        raise InputError(f"settings: {error}; known are {', '.join(Settings.__dataclass_fields__)}.") from error
    suites = _suites(test, keep, reference, problems)
    if problems:
        raise InputError(problems)
    if not (suites.task or suites.keep or suites.reference):
        raise InputError("nothing to measure: give at least one of test, keep and reference.")
    pair = Pair.of(base, tuned)
    console = make_console()
    console.quiet = not show_progress
    with showing_progress(console) as progress:
        measured = measure_pair(pair, tokenizer, suites, chosen, progress)
    name = str(getattr(base.config, "name_or_path", "") or type(base).__name__)
    result = _result(name, pair, suites, measured, model_hash(base))
    if output is not None:
        write_record(Path(output), result, measured)
    return result


def measure_recipe(recipe: MeasureRecipe, progress: Progress) -> Result:
    """Measure by paths or hub ids, as `retain measure` does; see `measure`.

    Raises:
        InputError: with every problem of data and models.
    """
    problems: list[str] = []
    suites = read_suites(recipe, problems)
    output = Path(recipe.output)
    problems += output_problem(output)
    if (output / "run.json").exists():
        problems.append(f"output: {output} holds a run of retain tune, whose record would be replaced; give another.")
    if (
        Path(recipe.tuned).is_dir()
        and not is_adapter(recipe.tuned)
        and not (Path(recipe.tuned) / "config.json").exists()
    ):
        problems.append(
            f"tuned: {recipe.tuned} holds neither an adapter (adapter_config.json) nor a model (config.json)."
        )
    elif recipe.tuned.startswith((".", "/")) and not Path(recipe.tuned).exists():
        problems.append(f"tuned: there is no folder {recipe.tuned}.")
    if problems:
        raise InputError(problems)
    tokenizer = load_tokenizer(recipe.model, trust_remote_code=recipe.trust_remote_code)
    base = _load(recipe.model, recipe)
    base_hash = model_hash(base)
    settings = settings_of(recipe)
    answers = collect_answers(base, tokenizer, suites, settings, progress, "the base answers")
    if is_adapter(recipe.tuned):
        tuned = load_adapter(base, recipe.tuned)
        rewritten = mutates_base(tuned)
        pair = Pair(tuned, _load(recipe.model, recipe) if rewritten else None)
    else:
        pair = Pair(_load(recipe.tuned, recipe), base)
    measured = measure_pair(pair, tokenizer, suites, settings, progress, answers)
    result = _result(recipe.model, pair, suites, measured, base_hash)
    write_record(Path(recipe.output), result, measured)
    return result


def _load(source: str, recipe: MeasureRecipe) -> Any:
    return load_model(source, recipe.dtype, attention=recipe.attention, trust_remote_code=recipe.trust_remote_code)


def _result(name: str, pair: Pair, suites: Suites, measured: Measured, base_hash: str) -> Result:
    changed, changed_bytes = changed_size(pair.tuned_model)
    _, total = parameter_counts(pair.tuned_model)
    return Result(
        model=name,
        method=MethodRecord(name=adapter_kind(pair.tuned_model) or "full", config=adapter_config(pair.tuned_model)),
        seed=None,
        parameters=Parameters(trainable=changed, total=total, adapter_bytes=changed_bytes),
        task=measured.task,
        keep=measured.keep,
        drift=measured.drift,
        provenance=provenance(suite_hashes(suites), base_hash, measured.notes),
    )


def _suites(
    test: Rows | None, keep: Rows | Mapping[str, Rows] | None, reference: str | Path | None, problems: list[str]
) -> Suites:
    if keep is None:
        named: Mapping[str, Rows] = {}
    elif isinstance(keep, Mapping):
        named = keep
    else:
        named = {suite_name(str(keep)) if isinstance(keep, (str, Path)) else "keep": keep}
    return Suites(
        task_name=suite_name(str(test)) if isinstance(test, (str, Path)) else "task",
        task=_rows(test, read_examples, parse_example, "test", problems) if test is not None else (),
        keep={name: _rows(rows, read_choices, parse_choice, name, problems) for name, rows in named.items()},
        reference=read_text(str(reference), problems) if reference is not None else "",
    )


def _rows(
    rows: Rows,
    read: Callable[[str, list[str]], list[Row]],
    parse: Callable[[dict[str, Any]], Row],
    name: str,
    problems: list[str],
) -> list[Row]:
    if isinstance(rows, (str, Path)):
        return read(str(rows), problems)
    parsed = []
    for number, row in enumerate(rows):
        try:
            parsed.append(parse(dict(row)))
        except ValueError as error:
            problems.append(f"{name}, row {number}: {error}.")
    if not rows:
        problems.append(f"{name}: holds no items.")
    return parsed
