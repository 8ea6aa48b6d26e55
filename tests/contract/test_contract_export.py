"""Every method in every form for serving; the guide's table is what these tests found."""

import pytest
from export_cells import FORMS, PAGE, TABLE, cell, methods, table


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", methods())
def test_every_method_is_exact_or_best_or_refused_in_a_sentence(method):
    for form in FORMS:
        state, sentence = cell(method, form)
        assert state in {"exact", "best of a rank", "where exact"} or sentence.endswith("."), (method, form)
    assert cell(method, "merged")[0] == "exact" or method == "prompt_tuning"


@pytest.mark.filterwarnings("ignore")
def test_the_guide_shows_what_was_found():
    """Make it anew with tests/contract/export_cells.py where this fails."""
    assert TABLE.search(PAGE.read_text(encoding="utf-8")).group() == table()
