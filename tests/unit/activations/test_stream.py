"""Sums handed over a few layers at a time, in one pass, are those that are collected at once; or nothing is done."""

import contextvars
import weakref

import pytest
import torch
from test_collect_leaves_the_model import Breaks, lora_llama, marks, unchanged
from test_collect_sharing import KINDS, ChangedInPlace, FreedInBetween, Two, UsedTwice, one_by_one
from torch import nn

from calibration import batches, embedded, gpt2, llama, sentences
from retain.activations import collect
from retain.activations import stream as module
from retain.activations.capture import SharingChangedError
from retain.activations.paused import Pass, wait
from retain.activations.plan import Plan
from retain.activations.stream import CannotStreamError, block_of, stream, summed_at_outputs
from retain.errors import InputError
from retain.hf.models.describe import model_hash
from retain.hf.tuners.base_weight import features
from retain.hf.tuners.targets import lora_targets

LEARN, KEEP = sentences(14, seed=5), sentences(9, seed=6)
TARGETS = {"target_modules": "all-linear"}
LIMITS = [None, 4_400, 12_000, 10**9]


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """Limits of some thousand bytes are for the sums only; passes of the smallest models hold more."""
    monkeypatch.setattr(module._Parts, "waits", lambda *_: None)


@pytest.fixture
def impatient(_patient, monkeypatch):
    """As it is."""
    monkeypatch.undo()


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


def streamed(given, outputs=None):
    """Parts as lists of layers, and both moments of each layer; `outputs` receives who was summed at its outputs."""
    parts, found = [], {}

    def take(part):
        parts.append(part.layers)
        if outputs is not None:
            outputs.update(part.outputs)
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
    at_outputs = set()
    parts, found, told = streamed(given, at_outputs)
    layers = given["learn"].layers
    assert at_outputs == {key for key, layer in layers.items() if features(layer)[1] <= features(layer)[0]}
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


@pytest.mark.usefixtures("impatient")
def test_where_more_would_wait_than_the_sums_take_all_is_done_at_once():
    model = llama()
    many = batches(sentences(400, seed=8), 8)
    parts, found, _ = streamed(plans(model, learn=many))
    assert len(parts) == 1
    expected = collect(model, many, targets=TARGETS, dtype="float64")
    for key in ("model.layers.0.mlp.gate_proj", "model.layers.1.mlp.up_proj"):
        torch.testing.assert_close(found[key]["learn"], expected.second_moment(key), rtol=0, atol=1e-10)


@pytest.mark.parametrize("limit", [900, 10**9])
@pytest.mark.parametrize("outputs", [5, 6, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_models_that_run_their_layers_in_odd_ways_are_summed_up_rightly_or_not_at_all(kind, outputs, limit):
    def make():
        body = kind()
        body.q, body.k = nn.Linear(6, outputs), nn.Linear(6, outputs)
        return body

    model, learn, keep = embedded(make), one_by_one(LEARN), one_by_one(KEEP)
    targets = {"target_modules": ["body.q", "body.k"]}
    given, at_outputs = plans(model, targets, learn=learn, keep=keep, memory_limit=limit), set()
    try:
        _, found, _ = streamed(given, at_outputs)
    except (SharingChangedError, CannotStreamError):
        assert kind not in (Two, ChangedInPlace, FreedInBetween, UsedTwice)  # those are what models do
        return
    expected = collect(model, keep, targets=targets, dtype="float64", share_inputs=False)
    for key, layer in given["keep"].layers.items():
        moment = expected.second_moment(key)
        moment = of_outputs(layer, moment) if key in at_outputs else moment
        torch.testing.assert_close(found[key]["keep"], moment, rtol=0, atol=1e-10)


def test_a_block_that_runs_again_after_its_sums_are_gone_is_out_of_order():
    model = llama()
    model.model.layers[1] = model.model.layers[0]
    with pytest.raises(CannotStreamError):
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


def test_a_limit_below_the_largest_layer_is_none_to_stream_with():
    with pytest.raises(CannotStreamError, match="largest layer take 4,352 bytes"):
        streamed(plans(llama(), memory_limit=4_000))


@pytest.mark.usefixtures("impatient")
def test_what_waits_is_held_to_the_limit_too():
    with pytest.raises(CannotStreamError, match="passes that wait hold"):
        streamed(plans(llama(), memory_limit=40_000, learn=batches(sentences(200), 8)))


def test_what_a_waiting_pass_holds_is_counted():
    mine, model = torch.zeros(1000), nn.Linear(50, 50)

    def work():
        one, parts, again = torch.zeros(300), {"a": [torch.zeros(20), mine]}, mine[:10]
        weight = model.weight
        wait()
        assert one.numel() + len(parts) + again.numel() + weight.numel()

    one = Pass(work)
    one.go_on()
    assert one.nbytes == 4 * (300 + 20 + 1000)
    one.drop()
    assert one.nbytes == 0


class Reused(Once):
    """Fills the same two tensors with every batch, as some data sets do."""

    def __iter__(self):
        ids, mask = torch.zeros(4, 9, dtype=torch.long), torch.zeros(4, 9, dtype=torch.long)
        for batch in super().__iter__():
            rows, width = batch["input_ids"].shape
            ids.zero_()[:rows, :width] = batch["input_ids"]
            mask.zero_()[:rows, :width] = batch["attention_mask"]
            yield {"input_ids": ids[:rows], "attention_mask": mask[:rows]}


def test_data_that_reuse_their_tensors_are_summed_up_rightly():
    model = llama()
    _, found, _ = streamed(plans(model, learn=Reused(batches(LEARN)), memory_limit=4_400))
    expected = collect(model, batches(LEARN), targets=TARGETS, dtype="float64")
    for key in ("model.layers.0.mlp.gate_proj", "model.layers.1.mlp.up_proj"):
        torch.testing.assert_close(found[key]["learn"], expected.second_moment(key), rtol=0, atol=1e-10)


class InModes(nn.Module):
    """The second layer runs in a mode of its own."""

    def __init__(self, mode):
        super().__init__()
        self.a, self.b, self.mode = nn.Linear(6, 7), nn.Linear(7, 8), mode

    def forward(self, x):
        x = self.a(x)
        with self.mode():
            return self.b(x)


@pytest.mark.parametrize("mode", [torch.enable_grad, lambda: torch.autocast("cpu", torch.bfloat16)])
def test_no_pass_waits_in_a_mode_that_all_would_get(mode):
    model = embedded(lambda: InModes(mode)).float()
    before = marks(model)
    given = plans(model, {"target_modules": ["body.a", "body.b"]}, memory_limit=900)
    with pytest.raises(CannotStreamError, match=r"body\.b runs in modes of its own"):
        streamed(given)
    unchanged(model, before)
    assert not torch.is_autocast_enabled("cpu")


class SharesInOddBatches(Two):
    def run(self, x, odd):
        return self.q(x) + self.k(x if odd else x.clone())


def test_layers_that_share_in_the_second_set_only_are_no_loss_of_sums():
    def make():
        body = SharesInOddBatches()
        body.q, body.k = nn.Linear(6, 7), nn.Linear(6, 7)
        return body

    rows = {4: [[5, 6, 7, 8]], 3: [[5, 6, 7]]}
    given = plans(
        embedded(make), {"target_modules": ["body.q", "body.k"]}, learn=batches(rows[4]), keep=batches(rows[3]),
        memory_limit=900,
    )  # fmt: skip
    with pytest.raises(SharingChangedError):
        streamed(given)


def test_a_compiled_block_is_watched_as_it_is():
    model = llama()
    expected = collect(model, batches(KEEP), targets=TARGETS, dtype="float64")
    model.model.layers[0].compile(backend="eager")
    _, found, _ = streamed(plans(model, memory_limit=4_400))
    key = "model.layers.0.mlp.gate_proj"
    torch.testing.assert_close(found[key]["keep"], expected.second_moment(key), rtol=0, atol=1e-10)


def test_outputs_that_a_bias_rounds_in_16_bits_are_not_summed_up():
    model = llama(attention_bias=True)
    ends = {key.rpartition(".")[2] for key in summed_at_outputs(plans(model)["keep"].layers)}
    assert ends == {"k_proj", "v_proj", "down_proj"}
    model.bfloat16()
    ends = {key.rpartition(".")[2] for key in summed_at_outputs(plans(model)["keep"].layers)}
    assert ends == {"down_proj"}


def test_who_is_told_of_progress_may_run_the_model():
    model = llama()
    ids = torch.tensor([[5, 6, 7]])

    def runs(*_):
        model(ids)

    given = plans(model, memory_limit=4_400, tick=runs)
    found = {}

    def take(part):
        runs()
        found.update({key: part.of("keep", key) for key in part.layers})

    stream(given, take)
    expected = collect(model, batches(KEEP), targets=TARGETS, dtype="float64")
    key = "model.layers.1.mlp.up_proj"
    torch.testing.assert_close(found[key], expected.second_moment(key), rtol=0, atol=1e-10)


def test_a_pass_has_the_context_variables_of_who_began_it():
    mine = contextvars.ContextVar("mine", default="nobody")
    mine.set("caller")
    seen = []
    Pass(lambda: seen.append(mine.get())).go_on()
    assert seen == ["caller"]


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
