"""The regularisers of a recipe: which there are, and on which rows each works."""

import pytest
import torch

from retain.data.preprocess import TextPreprocessor
from retain.jobs.regularisers import AIM, LONGEST, PROBES, with_regularisers
from retain.train.loop import TrainingSet
from retain.train.regularise.fisher import Fisher
from retain.train.regularise.kl_monitor import KLMonitor
from retain.train.regularise.kl_penalty import KLPenalty
from retain.train.regularise.update_limit import UpdateLimit
from tiny import make_tokenizer

PREPROCESSOR = TextPreprocessor(make_tokenizer(), 512)
ROWS = [[number + 6, *([7] * (number % 5 + 1))] for number in range(30)]
LEARNED = TrainingSet([{"input_ids": [6], "labels": [6]}] * 40, collator=lambda rows: {})


def firsts(batches):
    """The first token of each sequence, which names its row here."""
    return {int(ids[0]) for batch in batches for ids in batch["input_ids"]}


def test_without_any_nothing_changes(recipe):
    assert with_regularisers(LEARNED, [], recipe(), PREPROCESSOR) == (LEARNED, [])


def test_probes_are_neither_penalised_nor_replayed(recipe):
    given = recipe(kl_weight=2.0, kl_monitor=True, replay=0.2)
    mixed, (penalty, monitor) = with_regularisers(LEARNED, ROWS, given, PREPROCESSOR)
    assert isinstance(penalty, KLPenalty)
    assert isinstance(monitor, KLMonitor)
    assert penalty.weight == 2.0
    probes = firsts(monitor._batches)
    assert len(probes) == PROBES
    assert firsts(penalty.batches) == {row[0] for row in ROWS} - probes
    replayed = [row["input_ids"][0] for row in (mixed.rows[k] for k in range(len(mixed.rows))) if row["labels"] != [6]]
    assert len(mixed.rows) == 50
    assert len(replayed) == 10
    assert not probes & set(replayed)
    assert mixed.collator is LEARNED.collator


def test_a_penalty_within_a_budget_aims_below_its_limit(recipe):
    _, (penalty,) = with_regularisers(LEARNED, ROWS, recipe(kl_weight="budget", budget={"kl": 0.5}), PREPROCESSOR)
    assert penalty._dual.limit == pytest.approx(AIM * 0.5)


def test_a_limit_in_outputs_measures_on_one_batch_and_a_relative_one_on_none(recipe):
    _, (outputs,) = with_regularisers(
        LEARNED, ROWS, recipe(update_limit=0.1, update_unit="f_delta", batch_size=4), PREPROCESSOR
    )
    _, (relative,) = with_regularisers(LEARNED, [], recipe(update_limit=0.1), PREPROCESSOR)
    assert isinstance(outputs, UpdateLimit)
    assert [len(batch["input_ids"]) for batch in outputs._batches] == [4]
    assert relative._batches is None


def test_long_sequences_are_cut_and_short_ones_left_out(recipe):
    rows = [[6] * 500, [7, 8], [9]]
    _, (penalty,) = with_regularisers(LEARNED, rows, recipe(kl_weight=1.0, batch_size=8), PREPROCESSOR)
    (batch,) = penalty.batches
    assert batch["input_ids"].shape == (2, LONGEST)
    assert torch.equal(batch["attention_mask"].sum(dim=1).sort().values, torch.tensor([2, LONGEST]))


def test_ewc_reads_what_the_penalty_reads_in_an_order_that_no_seed_changes(recipe):
    seen = []

    def fisher(batches):
        seen.append([int(batch["input_ids"][0, 0]) for batch in batches])
        return Fisher({"layer": torch.ones(1)}, 1)

    for seed in (0, 1):
        given = recipe(ewc=3.0, seed=seed)
        _, (ewc,) = with_regularisers(LEARNED, ROWS, given, PREPROCESSOR, fisher=fisher)
        assert ewc.weight == 3.0
    assert seen[0] == seen[1]
    assert set(seen[0]) == {row[0] for row in ROWS}
    both = recipe(ewc=3.0, kl_monitor=True, kl_weight=1.0)
    _, (penalty, _, monitor) = with_regularisers(LEARNED, ROWS, both, PREPROCESSOR, fisher=fisher)
    assert set(seen[2]) == firsts(penalty.batches)
    assert not set(seen[2]) & firsts(monitor._batches)


def test_the_seed_decides_which_rows_are_probes(recipe):
    drawn = [
        firsts(with_regularisers(LEARNED, ROWS, recipe(kl_monitor=True, seed=seed), PREPROCESSOR)[1][0]._batches)
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
