"""The base's predictions are collected once for all runs on the same base and items."""

import pytest

from retain.hf.models.describe import model_hash
from retain.jobs import base_predictions as module
from retain.jobs.base_predictions import base_predictions


@pytest.fixture
def collected(monkeypatch):
    """How often predictions were collected."""
    times = []
    real = module.collect_predictions
    monkeypatch.setattr(module, "collect_predictions", lambda *a, **k: (times.append(1), real(*a, **k))[1])
    return times


def test_a_second_run_reads_them(make_run, tmp_path, collected):
    found = []
    for seed in (0, 1):
        run = make_run(shared=tmp_path / "shared", seed=seed, margin=3, held_out_tokens=64)
        base = run.base()
        found.append(base_predictions(run, base, model_hash(base)))
    assert found[0] == found[1]
    assert len(collected) == 1
    assert len(list((tmp_path / "shared").glob("base-*.json"))) == 1


@pytest.mark.parametrize("change", [{"max_length": 100}, {"keep_score": "token"}, {"test_items": 9}])
def test_what_they_depend_on_is_in_the_name_of_their_file(make_run, tmp_path, collected, change):
    base = make_run().base()
    for fields in ({}, change):
        base_predictions(make_run(shared=tmp_path / "shared", **fields), base, "weights")
    assert len(collected) == len(list((tmp_path / "shared").iterdir())) == 2
    base_predictions(make_run(shared=tmp_path / "shared"), base, "other weights")
    assert len(collected) == 3


def test_a_damaged_file_is_made_anew(make_run, collected):
    run = make_run()
    base = run.base()
    first = base_predictions(run, base, "weights")
    next(run.shared.glob("base-*.json")).write_text('{"responses": ', encoding="utf-8")
    assert base_predictions(run, base, "weights") == first
    assert len(collected) == 2
