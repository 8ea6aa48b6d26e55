"""Cautions about a comparison: differences between its runs that should not be there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from retain.compare.aggregate import Group, NamedResult
from retain.compare.pick import Key, keep_keys, keep_score, task_keys, task_score
from retain.records import numbers
from retain.records.numbers import listing
from retain.records.scores import KeepScore, TaskScore

ENOUGH_SEEDS = 3


def comparison_cautions(runs: Sequence[NamedResult], groups: Sequence[Group]) -> list[str]:
    """Cautions to read before comparing: first what makes the runs unlike, then what the design leaves open."""
    return [*_unlike_inputs(runs), *_unlike_scores(runs), *_repeated_seeds(groups), *_design(groups)]


def _unlike_inputs(runs: Sequence[NamedResult]) -> list[str]:
    found = []
    if len({run.result.provenance.model_hash for run in runs}) > 1:
        found.append("The runs do not share one base model: differences between methods are mixed with it.")
    names = {name for run in runs for name in run.result.provenance.data_hashes}
    unlike = [
        name
        for name in sorted(names)
        if len({run.result.provenance.data_hashes.get(name) for run in runs} - {None}) > 1
    ]
    if unlike:
        found.append(f"The runs do not share the same data: {listing(unlike)} differ.")
    return found


def _unlike_scores(runs: Sequence[NamedResult]) -> list[str]:
    results = [run.result for run in runs]
    found = []
    for key in task_keys(results):
        found += _unlike_suite(key, [task_score(result, key) for result in results])
    for key in keep_keys(results):
        found += _unlike_suite(key, [keep_score(result, key) for result in results])
    return found


def _unlike_suite(key: Key, scores: Sequence[TaskScore | KeepScore | None]) -> list[str]:
    given = [score for score in scores if score is not None]
    name = f"{key[0]} ({key[1].title})"
    found = []
    if len(given) < len(scores):
        found.append(f"{name} was measured in {len(given)} of {len(scores)} runs.")
    if len({score.n for score in given}) > 1:
        found.append(f"{name} was measured on different numbers of items.")
    base = [score.base for score in given if score.base is not None]
    if base and max(base) - min(base) > 1e-6 * max(1.0, abs(base[0])):
        unit = key[1].unit
        span = f"{numbers.plain(min(base), unit)} to {numbers.plain(max(base), unit)}"
        found.append(f"The base's own score on {name} differs between runs ({span}).")
    return found


def _repeated_seeds(groups: Sequence[Group]) -> list[str]:
    found = []
    for group in groups:
        seeds = Counter(run.result.seed for run in group.runs)
        repeated = [f"seed {seed} is there {times} times" for seed, times in seeds.items() if times > 1]
        if repeated:
            found.append(f"{group.title}: {listing(repeated)}, counted once as its mean.")
    return found


def _design(groups: Sequence[Group]) -> list[str]:
    found = []
    few = [group for group in groups if group.seeds < ENOUGH_SEEDS]
    if few:
        which = "Every setting" if len(few) == len(groups) else listing([group.title for group in few])
        verb = "has" if len(few) in {1, len(groups)} else "have"
        found.append(f"{which} {verb} fewer than {ENOUGH_SEEDS} seeds: no claim about a method rests on that.")
    rates: dict[str, set[float | None]] = {}
    for group in groups:
        rates.setdefault(group.method, set()).add(group.learning_rate)
    single = [method for method, of_method in rates.items() if len(of_method) < 2]
    if single and len(rates) > 1:
        which = f"{listing(single)} {'was' if len(single) == 1 else 'were'} run at one learning rate only"
        found.append(f"{which}: a comparison at single rates mostly compares how far each rate moves the model.")
    if any(group.seeds > 1 for group in groups):
        found.append("Seeds vary the training, not the items asked; [ ] covers both the seeds and the items.")
    return found
