"""P-values near what the correction asks for come from more draws; others stay as they are."""

from types import SimpleNamespace

import numpy as np
import pytest
import sharper
import whole
from plan import LORA

DRAWN = np.array([2.0] * 99 + [0.5])
FEW = whole.p_of(DRAWN)


def of(p, drawn, firm=True):
    return {"other": {"hypervolume": whole.Ratio(2.0, (1.5, 3.0), p, firm=firm, drawn=drawn)}}


@pytest.fixture
def again(monkeypatch):
    """Every further round has no draw at 1 or below; what is asked for is kept."""
    asked = []

    def compared(task, methods, suite, draws, seed):
        asked.append((suite, methods, seed))
        return of(0.01, np.full(100, 2.0))

    monkeypatch.setattr(sharper, "compared", compared)
    monkeypatch.setattr(sharper, "Draws", lambda task, number, seed: SimpleNamespace(number=number))
    return asked


def test_a_figure_near_the_limit_is_drawn_again_with_other_seeds_and_all_draws_count(again):
    found = sharper.sharpened(None, {"facts": of(FEW, DRAWN)}, 100)["facts"]["other"]["hypervolume"]
    assert again == [("facts", [LORA, "other"], whole.SEED + 1 + number) for number in range(sharper.ROUNDS)]
    assert found.p == pytest.approx(2 * 2 / 1001)  # one of 1,000 draws lies at 1 or below
    assert found.adjusted == found.p
    assert found.shown
    assert found.interval == (1.5, 3.0)


def test_what_cannot_be_shown_is_not_drawn_again(again):
    found = sharper.sharpened(None, {"a": of(0.001, DRAWN, firm=False), "b": of(0.9, DRAWN)}, 100)
    assert not again
    assert [own["other"]["hypervolume"].p for own in found.values()] == [0.001, 0.9]
