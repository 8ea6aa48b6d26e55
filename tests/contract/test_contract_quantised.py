"""The table of methods and backends: every method works beside every base, or says that it does not."""

import pytest
from quantised_cells import OF_PEFT, OFFLOAD, QUANTISED, TESTED, cell, cells
from support_cells import PAGE, page, states

from retain.methods.table import METHODS, initialisations

pytest.importorskip("bitsandbytes", reason="the extra 'quant' is not installed")
pytest.importorskip("torchao", reason="the extra 'quant' is not installed")

EVERYWHERE = [*dict.fromkeys([*(method.name for method in METHODS), *initialisations(), "lora", "ia3", "oft", "vera"])]


@pytest.mark.parametrize("column", [*QUANTISED, OFFLOAD])
@pytest.mark.parametrize("method", EVERYWHERE)
def test_it_works_there(method, column):
    assert cell(method, column) == TESTED


REFUSED = {
    ("hra", "nf4"): "method hra: does not work beside a base in 4 bits (nf4)",
    ("hra", "int8"): "what it does there is not what it does on the plain model",  # PEFT takes int8 codes for W0
    ("loha", "nf4"): "method loha: does not work beside a base in 4 bits (nf4)",
    ("full", "nf4"): "quantised weights cannot be trained; leave out --quantization",
    ("full", OFFLOAD): "offloaded to memory or disk cannot be trained",
}


@pytest.mark.parametrize("place", REFUSED, ids=" beside ".join)
def test_it_is_refused_there_in_a_sentence(place):
    assert REFUSED[place] in cell(*place)


def test_the_page_of_the_documentation_shows_the_cells_as_they_are():
    """Make it anew with tests/contract/support_cells.py where this fails."""
    assert states(PAGE.read_text(encoding="utf-8")) == states(page())
    table = cells()
    assert set(OF_PEFT) < {method for method, _ in table}
    assert all(text == TESTED or text.startswith("method ") for text in table.values())
