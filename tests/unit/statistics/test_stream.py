"""Sums handed over a few layers at a time, in one pass, are those that are collected at once; or nothing is done."""

import weakref

import pytest
import torch
from test_collect_leaves_the_model import Breaks, lora_llama, marks, unchanged
from test_collect_sharing import KINDS, ChangedInPlace, FreedInBetween, Two, UsedTwice, one_by_one
from torch import nn

from calibration import batches, embedded, gpt2, llama, sentences
from retain.errors import InputError
from retain.hf.base_weight import features
from retain.hf.describe import model_hash
from retain.hf.targets import lora_targets
from retain.statistics import collect
from retain.statistics.capture import SharingChangedError
from retain.statistics.paused import Pass, wait
from retain.statistics.plan import Plan
from retain.statistics.stream import OutOfOrderError, block_of, stream, summed_at_outputs

LEARN, KEEP = sentences(14, seed=5), sentences(9, seed=6)
TARGETS = {"target_modules": "all-linear"}
LIMITS = [None, 4_400, 12_000, 10**9]


class Once:
    """Batches that may be gone through again, and how often that was done."""

    def __init__(self, given):
        self.given, self.times = given, 0

    def __iter__(self):
        self.times += 1
        return iter(self.given)


def plans(model, targets=TARGETS, *, learn=None, keep=None, dtype=torch.float64, **fields):
    data = {"learn": batches(LEARN) if learn is None else learn, "keep": batches(KEEP) if keep is None else keep}
    layers = lora_targets(model, targets, under_any=True)
    hashed = model_hash(model)
    sample_norm = fields.pop("sample_norm", "none")
    return {
        name: Plan(model, given, layers, hashed, dtype, sample_norm, name=name, **fields)
        for name, given in data.items()
    }


def streamed(given):
    """Parts as lists of layers, and both moments of each layer."""
    parts, found = [], {}

    def take(part):
        parts.append(part.layers)
        for key in part.layers:
            found[key] = {name: part.of(name, key) for name in given}

    return parts, found, stream(given, take)


def of_outputs(layer, moment):
    """[W b] C [W b]ᵀ."""
    weight = layer.weight.T if hasattr(layer, "nf") else layer.weight
    whole = weight if layer.bias is None else torch.cat([weight, layer.bias[:, None]], dim=1)
    return whole.detach() @ moment @ whole.detach().T


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("sample_norm", ["none", "max"])
@pytest.mark.parametrize("make", [llama, lora_llama, gpt2, lambda: llama(attention_bias=True, mlp_bias=True)])
def test_the_sums_are_those_that_are_collected(make, sample_norm, limit):
    model = make()
    given = plans(model, memory_limit=limit, sample_norm=sample_norm)
    parts, found, told = streamed(given)
    layers = given["learn"].layers
    at_outputs = summed_at_outputs(layers)
    assert at_outputs
    assert sorted(key for part in parts for key in part) == sorted(layers)
    for name, rows in (("learn", LEARN), ("keep", KEEP)):
        expected = collect(model, batches(rows, 3), targets=TARGETS, dtype="float64", sample_norm=sample_norm)
        for key, layer in layers.items():
            moment = expected.second_moment(key)
            moment = of_outputs(layer, moment) if key in at_outputs else moment
            torch.testing.assert_close(found[key][name], moment, rtol=0, atol=1e-10)
        manifest = told[name].manifest
        assert (manifest.data_hash, manifest.tokens) == (expected.manifest.data_hash, expected.tokens)
        assert sorted(manifest.sequences) == sorted(expected.manifest.sequences)
        assert list(manifest.layers) == list(expected.manifest.layers)


def test_every_batch_is_read_once_and_each_pass_runs_each_layer_once():
    model = llama()
    learn, keep = Once(batches(LEARN)), Once(batches(KEEP))
    calls = dict.fromkeys(plans(model)["learn"].layers, 0)

    def count(key):
        def hook(*_):
            calls[key] += 1

        return hook

    for key in calls:
        model.get_submodule(key).register_forward_hook(count(key))
    parts, _, _ = streamed(plans(model, learn=learn, keep=keep, memory_limit=4_400))
    assert len(parts) > 4
    assert (learn.times, keep.times) == (1, 1)
    last = list(calls)[-1]  # where a pass is broken off, once it is known to be the last
    assert {calls[key] for key in calls if key != last} == {len(learn.given) + len(keep.given)}


@pytest.mark.parametrize("limit", [4_400, 12_000, 20_000])
def test_sums_stay_within_the_limit_and_are_dropped(limit):
    given, held, parts = plans(llama(), memory_limit=limit), [], []
    own = {key: layer for key, layer in given["learn"].layers.items() if not key.endswith("up_proj")}  # gate_proj's

    def take(part):
        widths = [features(own[key])[key in part.outputs] for key in part.layers if key in own]
        parts.append(sum(2 * 8 * (n * n + n) for n in widths))
        assert parts[-1] <= limit or len(widths) == 1
        held.append(weakref.ref(part.of("learn", part.layers[0])))

    stream(given, take)
    assert len(parts) > 1
    assert max(parts) > limit / 2
    assert not any(one() is not None for one in held[:-1])


def test_a_part_begins_with_a_block_where_the_limit_allows():
    model = llama()
    parts, _, _ = streamed(plans(model, memory_limit=None))
    assert [{block_of(key) for key in part} for part in parts] == [{"model.layers.0"}, {"model.layers.1"}]


def test_a_block_is_named_by_the_first_number():
    assert block_of("model.layers.11.mlp.experts.3.up") == "model.layers.11"
    assert block_of("body.q") == "body.q"


def test_where_more_would_wait_than_the_sums_take_all_is_done_at_once():
    model = llama()
    many = batches(sentences(400, seed=8), 8)
    parts, found, _ = streamed(plans(model, learn=many))
    assert len(parts) == 1
    expected = collect(model, many, targets=TARGETS, dtype="float64")
    for key in ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj"):
        torch.testing.assert_close(found[key]["learn"], expected.second_moment(key), rtol=0, atol=1e-10)


@pytest.mark.parametrize("limit", [900, 10**9])
@pytest.mark.parametrize("outputs", [5, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_models_that_run_their_layers_in_odd_ways_are_summed_up_rightly_or_not_at_all(kind, outputs, limit):
    def make():
        body = kind()
        body.q, body.k = nn.Linear(6, outputs), nn.Linear(6, outputs)
        return body

    model, learn, keep = embedded(make), one_by_one(LEARN), one_by_one(KEEP)
    targets = {"target_modules": ["body.q", "body.k"]}
    given = plans(model, targets, learn=learn, keep=keep, memory_limit=limit)
    try:
        _, found, _ = streamed(given)
    except (SharingChangedError, OutOfOrderError):
        assert kind not in (Two, ChangedInPlace, FreedInBetween, UsedTwice)  # those are what models do
        return
    expected = collect(model, keep, targets=targets, dtype="float64", share_inputs=False)
    for key, layer in given["keep"].layers.items():
        moment = expected.second_moment(key)
        moment = of_outputs(layer, moment) if outputs == 5 else moment
        torch.testing.assert_close(found[key]["keep"], moment, rtol=0, atol=1e-10)


def test_a_block_that_runs_again_after_its_sums_are_gone_is_out_of_order():
    model = llama()
    model.model.layers[1] = model.model.layers[0]
    with pytest.raises(OutOfOrderError):
        streamed(plans(model, memory_limit=4_400))
    _, found, _ = streamed(plans(model, memory_limit=10**9))
    key = "model.layers.0.mlp.gate_proj"
    expected = collect(model, batches(KEEP), targets=TARGETS, dtype="float64")
    torch.testing.assert_close(found[key]["keep"], expected.second_moment(key), rtol=0, atol=1e-10)


@pytest.mark.parametrize("make", [llama, lora_llama])
def test_the_model_comes_back_as_it_was(make):
    model = make()
    before = marks(model)
    streamed(plans(model, memory_limit=4_400))
    unchanged(model, before)


def test_after_an_error_nothing_waits_and_the_model_is_as_it_was():
    model = llama()
    before, ended = marks(model), []

    def stop(_part):
        raise KeyError("while solving")

    class Noting(Once):
        def __iter__(self):
            for batch in super().__iter__():
                ids = batch["input_ids"].clone()
                weakref.finalize(ids, ended.append, len(ended))
                yield {**batch, "input_ids": ids}
                del ids

    given = Noting(batches(LEARN))
    with pytest.raises(KeyError, match="while solving"):
        stream(plans(model, learn=given, memory_limit=4_400), stop)
    unchanged(model, before)
    assert len(ended) == len(given.given)  # no pass holds a batch any more


def test_an_error_in_the_model_reaches_the_caller():
    model = embedded(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 9), Breaks()))
    before = marks(model)
    with pytest.raises(KeyError, match="midway"):
        streamed(plans(model, {"target_modules": ["body.0", "body.2"]}, memory_limit=1_200))
    unchanged(model, before)


def test_values_that_are_not_finite_are_named_before_anything_is_solved():
    model = llama()
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = float("inf")
    given, taken = plans(model, memory_limit=4_400), []
    with pytest.raises(InputError, match="learn: what model.layers.1.mlp.down_proj reads or gives is not finite"):
        stream(given, lambda part: taken.extend(part.layers))
    assert "model.layers.1.mlp.down_proj" not in taken


def test_a_limit_below_the_largest_layer_is_refused():
    with pytest.raises(InputError, match=r"memory_limit=4,000 bytes: the sums of \S+ alone take 4,352"):
        streamed(plans(llama(), memory_limit=4_000))


def test_no_batches_at_all_are_refused():
    with pytest.raises(InputError, match="keep: no tokens"):
        streamed(plans(llama(), keep=[]))


def test_a_pass_waits_and_goes_on_and_can_be_dropped():
    seen = []

    def work():
        try:
            seen.append("begun")
            wait()
            seen.append("went on")
            wait()
            seen.append("never")
        finally:
            seen.append("ended")

    one = Pass(work)
    assert not one.go_on()
    assert not one.go_on()
    one.drop()
    one.drop()
    assert seen == ["begun", "went on", "ended"]


def test_what_a_pass_raises_is_raised_where_it_goes_on():
    def work():
        wait()
        raise KeyError("inside")

    one = Pass(work)
    assert not one.go_on()
    with pytest.raises(KeyError, match="inside"):
        one.go_on()
