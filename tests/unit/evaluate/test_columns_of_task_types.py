"""Both sides' responses as columns and rows: groups of items stay units, parts of a suite are shown apart."""

from retain.data.item_types import Choice
from retain.data.preprocess import TextPreprocessor
from retain.evaluate.columns import breakdowns, paired
from retain.evaluate.predictions import collect_predictions
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.task_type import Response
from retain.events import SILENT
from tiny import make_llama, make_tokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SETTINGS = Settings(batch_size=3, max_new_tokens=4, generate=2, max_length=60)
PREPROCESSOR = TextPreprocessor(make_tokenizer(), 60)


def test_items_of_a_group_are_one_unit():
    items = [
        Choice(question=f"{a} then", choices=("b", "c"), answer=0, group=f"g{i // 4}") for i, a in enumerate(LETTERS)
    ]
    suite = Suite("grouped", "choice", "keep", items)
    base = collect_predictions(make_llama(), PREPROCESSOR, [suite], SETTINGS, SILENT, "")
    column = paired(suite, base, base).columns[0]
    assert len(set(column.groups)) == 7
    alone = Suite(
        "grouped", "choice", "keep", [item.model_copy(update={"group": str(i)}) for i, item in enumerate(items)]
    )
    assert paired(alone, base, base).columns[0].groups is None


def test_parts_of_a_suite_keep_their_groups():
    """Two conditions of 12 items in 3 groups: an interval that ignored the groups would be narrower."""
    items = [
        Choice(question=f"{a} then", choices=("b", "c"), answer=0, condition="xy"[i % 2], group=f"g{i // 8}")
        for i, a in enumerate(LETTERS[:24])
    ]
    suite = Suite("parts", "choice", "keep", items)
    right, wrong = Response(answer="b", options=(0.0, -1.0)), Response(answer="c", options=(-1.0, 0.0))
    base = collect_predictions(make_llama(), PREPROCESSOR, [suite], SETTINGS, SILENT, "")
    base = base.model_copy(update={"responses": {"parts": (right,) * 24}})
    tuned = base.model_copy(update={"responses": {"parts": tuple(wrong if i < 8 else right for i in range(24))}})
    alone = [item.model_copy(update={"group": None}) for item in items]
    grouped, single = (
        breakdowns(paired(Suite("parts", "choice", "keep", each), base, tuned), SETTINGS.seed)
        for each in (items, alone)
    )
    assert [(part.condition, part.n, part.tuned) for part in grouped] == [("x", 12, 8 / 12), ("y", 12, 8 / 12)]
    for part, other in zip(grouped, single, strict=True):
        assert part.interval[1] - part.interval[0] > 1.2 * (other.interval[1] - other.interval[0])
