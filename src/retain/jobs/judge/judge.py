"""`retain judge`: the verdict on two logs of predictions, made as any other.

Reading and pairing are this room's; scores, evidence, verdict, record and report are those of every measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from retain.compare.pick import model_name
from retain.errors import InputError
from retain.evaluate.scores.gone_rows import gone_row
from retain.evaluate.scores.rows import breakdown_rows, keep_row, task_row
from retain.jobs.judge.formats import log_problem, read_log
from retain.jobs.judge.judged_suite import JudgedSuite, judged_suites, notes_on
from retain.jobs.judge.logs import Log, counted, hash_of, named
from retain.jobs.judge.pooling import pooled
from retain.jobs.junit_file import junit_problem, write_junit
from retain.jobs.output_place import output_problem
from retain.jobs.record import provenance, write_record
from retain.recipe.judge_recipe import ALL, JudgeRecipe
from retain.recipe.read_recipe import load_recipe
from retain.records.lock import output_folder
from retain.records.result import Conditions, MethodRecord, Parameters, Result, SuiteFacts
from retain.records.scores import Breakdown
from retain.records.verdicts import Judgement
from retain.report.write import RUN_FILES, holding_problem
from retain.verdict.evidence import evaluate
from retain.verdict.judge import RunEvidence, judge_run
from retain.verdict.verdict import Margins

SEED = 0
"""Of every resample and sign drawn."""

NOT_LOGGED = "not logged"


def judge(base: str | Path, tuned: str | Path, *, output: str | Path | None = None, **options: Any) -> Result:
    """Judge a tuned model by predictions that exist already: two logs of one program on the same items.

    Args:
        base: log of the base: an output folder of lm-evaluation-harness (`--log_samples`), a log of inspect_ai,
            rows `{id, correct|score|prediction and label}`, or a run of retain.
        tuned: log of the tuned model.
        output: folder for `result.json`, `items.jsonl`, report and plot; None writes nothing.
        options: fields of `retain judge`, as `task="headlines"`, `margin=2` or `junit="verdict.xml"`.

    Returns:
        The record, as `retain.measure` gives it.

    Raises:
        InputError: with every reason why the two cannot be compared.

    Examples:
        >>> result = retain.judge("runs/first:base", "runs/first", suites="capitals")  # or two logs of lm-eval, say
        >>> result.keep[0].name, result.keep[0].n
        ('capitals', 168)
    """
    place = None if output is None else str(output)
    values = {"base": str(base), "tuned": str(tuned), "output": place, **options}
    return judge_recipe(load_recipe(JudgeRecipe, None, values))


def judge_recipe(recipe: JudgeRecipe) -> Result:
    """Judge two logs as a recipe says; see `judge`.

    Raises:
        InputError: see `judge`.
    """
    problems = junit_problem(recipe.junit)
    if recipe.output is not None:
        problems += output_problem(recipe.output)
        problems += holding_problem(recipe.output, ["run.json", "summary.json", "scaling.json"])
        problems += log_problem(recipe.output, (recipe.base, recipe.tuned))
    logs = _logs(recipe, problems)
    if problems or logs is None:
        raise InputError(problems)
    judged = judged_suites(recipe, *logs)
    result = _result(recipe, *logs, judged)
    with nullcontext() if recipe.output is None else output_folder(Path(recipe.output), RUN_FILES):
        if recipe.output is not None:
            result = write_record(Path(recipe.output), result, [item for one in judged for item in one.items])
    write_junit(recipe.junit, {result.method.name: result})
    return result


def _logs(recipe: JudgeRecipe, problems: list[str]) -> tuple[Log, Log] | None:
    """Both logs; None where one cannot be read."""
    wanted = tuple(dict.fromkeys((*recipe.suites, *recipe.task, *recipe.gone))) if recipe.suites else ()
    read = () if recipe.pool else wanted  # what a pool holds is known when the log is read
    found: list[Log] = []
    for side, place in (("base", recipe.base), ("tuned", recipe.tuned)):
        try:
            found.append(_chosen(pooled(read_log(place, read), recipe.pool, problems), wanted))
        except InputError as error:
            problems += [f"{side}: {problem}" for problem in error.problems]
    if len(found) < 2:
        return None
    base, tuned = found
    if Path(recipe.base).resolve() == Path(recipe.tuned).resolve():
        problems.append(f"base and tuned are one log ({recipe.base}): there is nothing to compare; give two.")
    program = [log.program.partition(" ")[0] for log in found]
    if program[0] != program[1]:
        problems.append(
            f"base is a log of {base.program} and tuned one of {tuned.program}: they are scored by different programs; "
            "give two of one."
        )
    problems += _suite_problems(recipe, base, tuned)
    return base, tuned


def _chosen(log: Log, wanted: Sequence[str]) -> Log:
    suites = {name: suite for name, suite in log.suites.items() if not wanted or name in wanted}
    return replace(log, suites=suites)


def _suite_problems(recipe: JudgeRecipe, base: Log, tuned: Log) -> list[str]:
    """Sentences on suites that are named and not there, and on those of one side alone."""
    both = [name for name in base.suites if name in tuned.suites]
    everywhere = list(dict.fromkeys((*base.names, *tuned.names)))
    named_ones = {
        "task": recipe.task,
        "gone": recipe.gone,
        "suites": recipe.suites,
        "metric": tuple(recipe.metric),
        "chance": tuple(recipe.chance),
    }
    found = []
    for field, names in named_ones.items():
        if unknown := [name for name in names if name not in everywhere and name != ALL]:
            have = named(everywhere) if everywhere else "none"
            pooled_ones = [f"{name} is part of {pool}" for name in unknown if (pool := _pool_of(name, recipe, base))]
            told = ", ".join(pooled_ones) or f"neither log has {', '.join(unknown)}"
            found.append(f"{field}: {told}; there are {have}.")
    if not everywhere and not found:
        found.append("neither log holds a suite.")
    for side, log, other in (("base", base, tuned), ("tuned", tuned, base)):
        if alone := [name for name in log.suites if name not in other.suites]:
            cure = f"judge the others by --suites {','.join(both)}" if both else "give logs of the same tasks"
            found.append(f"{named(alone)}: only the {side} log has it; {cure}.")
    return found


def _pool_of(suite: str, recipe: JudgeRecipe, log: Log) -> str | None:
    """The pool that a suite was put into."""
    return next((pool for pool in recipe.pool if suite in log.groups.get(pool, ())), None)


def _result(recipe: JudgeRecipe, base: Log, tuned: Log, judged: Sequence[JudgedSuite]) -> Result:
    """The record: scores and verdict of all suites, and how both sides were asked."""
    learned = [evaluate(one.column, np.random.default_rng(SEED)) for one in judged if one.part == "task"]
    kept = [keep_row(one.column, SEED) for one in judged if one.part == "keep"]
    asked = [one for one in judged if one.part == "gone"]
    gone = [gone_row(one.column, one.items, SEED, suites=len(asked)) for one in asked]
    margins = Margins(
        recipe.margin / 100,
        recipe.margin_nats,
        recipe.smallest_gain / 100,
        recipe.smallest_gain_nats,
        recipe.gone_margin / 100,
    )
    evidence = RunEvidence(tuple(learned), tuple(one for one, _ in kept), gone=tuple(one for one, _ in gone))
    judgement = judge_run(evidence, margins)
    conditions = _conditions(base, judged)
    return Result(
        model=f"{base.on} ({base.model})" if base.on else base.model,
        method=MethodRecord(name=_tuned_name(base, tuned), config={"program": tuned.program, "tuned": tuned.model}),
        seed=None,
        parameters=Parameters(trainable=0, total=0, adapter_bytes=0),
        judgement=_told_in_full(judgement, judged),
        margins=(margins.share, margins.nats),
        gone_margin=margins.gone if gone else None,
        resampling_seed=SEED,
        task=tuple(task_row(evidence, margins) for evidence in learned),
        keep=tuple(score for _, score in kept),
        gone=tuple(score for _, score in gone),
        breakdowns=_breakdowns(judged),
        conditions={"base": conditions, "tuned": conditions},
        suites=tuple(_facts(one) for one in judged),
        provenance=provenance(
            {"base log": base.digest, "tuned log": tuned.digest}, "", notes_on(recipe, base, tuned, judged)
        ),
    )


def _breakdowns(judged: Sequence[JudgedSuite]) -> tuple[Breakdown, ...]:
    return tuple(row for one in judged for row in breakdown_rows(one.column, one.items, SEED))


def _tuned_name(base: Log, tuned: Log) -> str:
    """The tuned model's name as a reader sees it, told apart from the base's."""
    name = model_name(tuned.model)
    return name if name != model_name(base.model) else f"{name} (tuned)"


def _conditions(base: Log, judged: Sequence[JudgedSuite]) -> Conditions:
    """What both sides share: that they were asked alike is checked before."""
    asked = [answer.asked for one in judged for answer, _ in one.paired.pairs]
    settings = [[one.paired.name, one.paired.base.asked_as, one.paired.base.asked_with] for one in judged]
    return Conditions(
        engine=base.program,
        dtype=NOT_LOGGED,
        attention=NOT_LOGGED,
        device=NOT_LOGGED,
        preprocessor_hash=hash_of(settings),
        input_hash=hash_of(asked) if all(asked) else NOT_LOGGED,
    )


def _told_in_full(judgement: Judgement, judged: Sequence[JudgedSuite]) -> Judgement:
    """The verdict with what was left out of it said in its reasons."""
    partial = {one.paired.name: one.paired.partial for one in judged if one.paired.partial}
    if not partial:
        return judgement
    suites = [
        one.model_copy(update={"reason": f"{one.reason} {partial[one.suite]}"}) if one.suite in partial else one
        for one in judgement.suites
    ]
    left_out = counted(sum(sum(one.paired.left_out) for one in judged), "answer")
    reason = f"{judgement.reason} Items of one side alone were left out ({left_out}, --intersection)."
    return judgement.model_copy(update={"reason": reason, "suites": tuple(suites)})


def _facts(one: JudgedSuite) -> SuiteFacts:
    suite = one.paired.base
    return SuiteFacts(name=suite.name, task_type=suite.task_type, part=one.part, title=suite.name, source=suite.source)
