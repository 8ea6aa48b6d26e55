"""What can be said of suites of what should be gone before any model is loaded: which cannot tell, and their power."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from retain.data.contamination import find_contradictions
from retain.evaluate.suites.suite import Suite
from retain.evaluate.tasks.table import task_type_of
from retain.stats.clusters import cluster_codes, effective_number, named_groups
from retain.stats.mcnemar import SIGNIFICANCE
from retain.stats.remaining import fewest_groups_to_show_gone, fewest_to_show_gone
from retain.verdict.gone_reasons import percent


def gone_problems(suites: Sequence[Suite]) -> list[str]:
    """A sentence for each suite whose answers cannot show that something is gone, or that is to be kept as well."""
    found = []
    for suite in suites:
        task_type = task_type_of(suite)
        if suite.part != "gone" or not suite.items:  # where it is empty the problem was found where it was read
            continue
        if not task_type.tells_knowledge or not task_type.verdict_metric(suite).right_or_wrong:
            found.append(
                f"gone: {suite.name} is a suite of task type {task_type.name}, whose answers are not right or wrong by "
                "what is known; give questions with accepted answers ({question, answers}), choices, or labelled items."
            )
    keep, gone = ({one.name: one.items for one in suites if one.part == part} for part in ("keep", "gone"))
    return found + find_contradictions(keep, gone)


def gone_told(suites: Sequence[Suite], margin: float) -> Iterator[str]:
    """A sentence for each suite of what should be gone on what it takes to show that.

    Args:
        suites: of all parts.
        margin: the largest share that may be left.
    """
    asked = [suite for suite in suites if suite.part == "gone" and suite.items]
    alpha = SIGNIFICANCE / max(1, len(asked))
    for suite in asked:
        groups = named_groups([item.group for item in suite.items])
        units, what = len(suite.items), "questions" if len(suite.items) > 1 else "single question"
        chance = task_type_of(suite).luck(suite, task_type_of(suite).verdict_metric(suite))
        fewest = fewest_to_show_gone(margin, alpha, chance=chance)
        if groups is not None:
            sizes = np.bincount(cluster_codes(groups, units))
            units = int(effective_number(sizes) + 1e-9)
            what = "group of questions" if units == 1 else "groups of questions"
            fewest = fewest_groups_to_show_gone(margin, alpha) if not chance else fewest
        guessed = f", of which guessing has {chance:.0%}" if chance else ""
        takes = "more than can be planned for" if fewest is None else f"{fewest:,}"
        told = (
            f"gone {suite.name}: {units} {what}{guessed}; that at most {percent(margin)} is left is shown from {takes} "
        )
        told += "that the base has right and the tuned model has not"
        short = fewest is None or units < fewest
        yield told + (
            ": there are too few, whatever the model. Give more, or a larger --gone-margin." if short else "."
        )
