"""What a run delivers at each outcome of its budget."""

import pytest
import torch

from retain.evaluate.pair import Pair
from retain.hf.models.sides import is_adapted
from retain.jobs import deliver as module
from retain.jobs.adapt import train_or_load
from retain.jobs.budget_search import Outcome
from retain.jobs.deliver import deliver
from retain.records.budget_record import Scaling


@pytest.fixture
def trained(make_run):
    """Make a run with a budget, and its pair of base and trained model."""

    def make(**fields):
        run = make_run(budget={"letters": 50.0}, confidence=0.6, control_share=0.5, **fields)
        model, _ = train_or_load(run, run.base(), "weights")
        return run, Pair.around(model, run.base)

    return make


@pytest.fixture
def searched(monkeypatch):
    """Let the search end at a coefficient, without measuring; counts the searches."""
    times = []

    def end_at(alpha):
        def search(pair, job, events, origin, cache, base_hash):
            times.append(alpha)
            return Outcome(scaling=Scaling(alpha=alpha, alphas=(0.5, 1.0))), None

        monkeypatch.setattr(module, "search", search)
        monkeypatch.setattr(module, "note_origin", lambda *_: None)
        return times

    return end_at


def test_without_a_budget_all_is_delivered(make_run, monkeypatch):
    monkeypatch.setattr(module, "search", None)
    pair = Pair(torch.nn.Linear(1, 1))
    assert deliver(make_run(), pair, "weights") == module.Delivered(pair)


def test_at_1_all_is_delivered_as_it_is(trained, searched):
    searched(1.0)
    run, pair = trained()
    delivered = deliver(run, pair, "weights")
    assert delivered.pair is pair
    assert run.folder.weights("lora").is_dir()
    assert not run.folder.unscaled.exists()


def test_at_0_no_adapter_is_delivered_and_a_note_says_so(trained, searched):
    searched(0.0)
    run, pair = trained()
    delivered = deliver(run, pair, "weights")
    assert delivered.pair is pair
    assert "no adapter was delivered" in delivered.notes[0]
    assert run.folder.delivered("lora") is None
    assert run.folder.unscaled.is_dir()


def test_between_them_a_scaled_adapter_is_written_and_read_back(trained, searched):
    searched(0.5)
    run, pair = trained()
    delivered = deliver(run, pair, "weights")
    assert delivered.pair.tuned_model is not pair.tuned_model
    assert delivered.pair.separate_base is None
    assert is_adapted(delivered.pair.tuned_model)
    assert run.folder.delivered("lora") == run.folder.weights("lora")
    assert run.folder.unscaled.is_dir()
    assert delivered.notes == ()


def test_a_whole_model_has_a_base_of_its_own(trained, searched):
    searched(0.5)
    run, pair = trained(method={"name": "full"})
    delivered = deliver(run, pair, "weights")
    assert not is_adapted(delivered.pair.tuned_model)
    assert delivered.pair.separate_base is not None
    assert delivered.notes == ()


def test_an_outcome_is_found_once(trained, searched):
    times = searched(1.0)
    run, pair = trained()
    first = deliver(run, pair, "weights")
    assert deliver(run, pair, "weights").outcome == first.outcome
    assert times == [1.0]
    run.folder.scaling_file.write_text("{", encoding="utf-8")
    deliver(run, pair, "weights")
    assert times == [1.0, 1.0]
