"""Each warning is given exactly when there is reason, and healthy data are passed in silence."""

import warnings

import pytest
import torch
from torch import nn

from calibration import batches, embedded, sentences
from retain import CalibrationWarning, SCLoRAConfig, sc_lora
from retain.activations import collect
from retain.activations.findings import alike, findings
from retain.hf.adapters.initialise import note_of

TARGETS = {"target_modules": ["body.0", "body.2"]}
OUTPUTS = 12
LOUD = 39
"""A token that only some rows hold."""


def model():
    """Even tokens and odd ones lie in halves of the embedding of their own."""
    found = embedded(lambda: nn.Sequential(nn.Linear(8, OUTPUTS), nn.Tanh(), nn.Linear(OUTPUTS, 5)), width=8)
    with torch.no_grad():
        found.embedding.weight[0::2, :4] *= 0.01
        found.embedding.weight[1::2, 4:] *= 0.01
    return found


def rows(parity, count=40):
    """Sentences of even tokens, or of odd ones below the loud one."""
    return [[token // 2 * 2 - 2 * (token > 37) + parity for token in row] for row in sentences(count, seed=parity)]


LEARN, KEEP = rows(0), rows(1)


def collected(given, **fields):
    return collect(model(), batches(given), targets=TARGETS, dtype="float64", **fields)


def told(learn=LEARN, keep=KEEP, **fields):
    return findings({"learn": collected(learn, **fields), "keep": collected(keep, **fields)})


def warned(learn=LEARN, keep=KEEP, r=2, targets=TARGETS):
    """What sc_lora warns of, and the adapter."""
    config = SCLoRAConfig(r=r, **targets)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        adapted = sc_lora(model(), config, learn=batches(learn), keep=batches(keep))
    ours = [warning for warning in found if warning.category is CalibrationWarning]
    assert all(warning.filename == __file__ for warning in ours)
    return [str(warning.message) for warning in ours], adapted


def test_healthy_data_are_passed_in_silence():
    assert told() == []
    assert told(sample_norm="max") == []
    assert warned()[0] == []


def of_tokens(number):
    """Rows of so many tokens in all."""
    return [[token] * 2 for token in range(2, 2 + number // 2)] + [[33]] * (number % 2)


@pytest.mark.parametrize(("tokens", "warns"), [(OUTPUTS - 1, True), (OUTPUTS, False)])
def test_fewer_tokens_than_the_widest_layer_has_outputs(tokens, warns):
    found = told(keep=of_tokens(tokens))
    assert len(found) == warns
    assert all(s.startswith(f"keep: {tokens} tokens") and f"at least {OUTPUTS} tokens" in s for s in found)


def test_the_same_sequences_in_both_sets():
    found = told(learn=[*LEARN, KEEP[3], KEEP[7]])
    assert len(found) == 1
    assert f"share 2 of {len(KEEP)} sequences" in found[0]


def test_the_same_sequence_is_found_whatever_its_padding():
    learn = collect(model(), batches([*LEARN, KEEP[3]], 7, "left"), targets=TARGETS)
    assert "share 1 of" in findings({"learn": learn, "keep": collected(KEEP)})[0]


def loud(given, size):
    """Statistics with one row whose tokens are `size` times as long as others are."""
    made = model()
    with torch.no_grad():
        made.embedding.weight[LOUD] *= size
    return collect(made, batches([*given, [LOUD] * 3]), targets=TARGETS, dtype="float64")


@pytest.mark.parametrize(("size", "warns"), [(30.0, True), (1.0, False)])
def test_one_sample_above_all_others(size, warns):
    found = findings({"keep": loud(KEEP, size)})
    assert len(found) == warns
    assert all(f"keep: one of {len(KEEP) + 1} samples holds" in s and "body.0" in s for s in found)


def test_one_of_a_few_samples_has_a_large_share_by_itself():
    few = [row * 3 for row in KEEP[:4]]
    assert findings({"keep": collected(few)}) == []


def test_scaled_samples_do_not_outweigh_each_other():
    made = model()
    with torch.no_grad():
        made.embedding.weight[LOUD] *= 30
    found = collect(made, batches([*KEEP, [LOUD] * 3]), targets=TARGETS, sample_norm="max")
    assert findings({"keep": found}) == []


def test_data_that_use_the_same_directions():
    found, adapted = warned(keep=[row[::-1] for row in LEARN if row != row[::-1]], learn=LEARN)
    assert len(found) == 1
    assert "nearly the same directions" in found[0]
    assert note_of(adapted)["findings"] == found


def test_a_rank_that_leaves_no_direction_out_is_not_blamed_on_the_data():
    assert warned(r=2, targets={"target_modules": ["body.2"]})[0] == []
    assert warned(r=5, targets={"target_modules": ["body.2"]})[0] == []


@pytest.mark.parametrize(("overlaps", "warns"), [([0.96, 0.97, 0.1], True), ([0.94, 0.99, 0.94], False), ([], False)])
def test_most_layers_decide(overlaps, warns):
    assert len(alike(overlaps)) == warns


def test_everything_is_told_of_at_once_and_noted_in_the_adapter():
    short = [[2, 4], [6, 8]]
    found, adapted = warned(learn=short, keep=[[4, 2], [8, 6], [6, 8]])
    said = ["learn: 4 tokens", "keep: 6 tokens", "share 1 of 3", "nearly the same directions"]
    assert all(part in sentence for part, sentence in zip(said, found, strict=True))
    assert note_of(adapted)["findings"] == found


def test_what_the_statistics_note_is_passed_on():
    class OneRuns(nn.Sequential):
        def forward(self, x):
            return self[0](x)

    made = embedded(lambda: OneRuns(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)))
    found = findings({"keep": collect(made, batches(KEEP), targets=TARGETS)})
    assert found == ["keep: 1 layers never ran and have no statistics, body.2 first."]
