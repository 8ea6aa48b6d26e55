"""What a conversion (merging, rounding) made of what was learned, kept and forgotten, from items of three sides."""

import pytest

from report_samples import sample_run
from retain.records.conversion_record import Conversion
from retain.records.gone_record import GoneScore
from retain.records.items import Item, Side
from retain.records.metrics_table import ACCURACY
from retain.report.cautions import cautions
from retain.report.tables.conversion_table import conversion_tables
from retain.verdict.conversion import conversion_scores

OLD = GoneScore(name="old", metric=ACCURACY, n=40, units=40, chance=0.25, base=1, tuned=0, known=40, left=0)


def run_with(back):
    """A record whose tuned model has none of 40 old answers, and whose converted model has so many again."""
    sides = [Side(scores={"accuracy": float(score)}) for score in (0, 1)]
    items = [
        Item(
            part="gone",
            suite="old",
            index=i,
            question=f"q{i}",
            base=sides[1],
            tuned=sides[0],
            converted=sides[i < back],
        )
        for i in range(40)
    ]
    scores = conversion_scores(items, (), (), 0, (OLD,))
    conversion = Conversion(source="model.gguf", what="a GGUF file", scores=tuple(scores))
    return sample_run().model_copy(update={"conversion": conversion})


@pytest.mark.parametrize(("back", "told"), [(0, False), (1, False), (20, True), (40, True)])
def test_a_conversion_that_brings_back_what_was_forgotten_is_told_first(back, told):
    run = run_with(back)
    score = run.conversion.scores[0]
    assert (score.part, score.base, score.tuned, score.converted) == ("gone", 1.0, 0.0, back / 40)
    sentences = [one for one in cautions(run) if "conversion" in one]
    assert bool(sentences) == told
    if told:
        assert sentences[0].startswith("The conversion itself brought back what should be gone: old, accuracy +")
    assert "accuracy, should be gone" in conversion_tables(run)[0].rows[0]
