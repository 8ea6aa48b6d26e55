"""An initialisation solved while the texts are read equals that from statistics; where it cannot be, they are used."""

import json

import pytest
import torch

from calibration import batches, gpt2, llama, sentences
from retain import SCLoRAConfig, sc_lora
from retain.activations import collect
from retain.linalg.subspaces import subspace_overlap
from retain.methods.initialisations import adapter

LEARN, KEEP = sentences(60, seed=11), sentences(50, seed=12)
pytestmark = pytest.mark.filterwarnings("ignore::retain.methods.initialisations.adapter.CalibrationWarning")


def shared_block():
    """A Llama that runs one block twice, as ALBERT does."""
    model = llama()
    model.model.layers[1] = model.model.layers[0]
    return model


def by_statistics(make, config):
    model = make()
    made = {
        name: collect(model, batches(rows), targets=config.targets, sample_norm=config.sample_norm, dtype="float64")
        for name, rows in (("learn", LEARN), ("keep", KEEP))
    }
    return sc_lora(model, config, **made)


def factors(model):
    return {key: value for key, value in model.state_dict().items() if "lora_" in key}


def assert_alike(model, other):
    """Both initialisation in one subspace in every layer."""
    expected, found = factors(other), factors(model)
    assert expected.keys() == found.keys()
    for key, value in found.items():
        if "lora_B" in key:
            Q, R = (torch.linalg.qr(part[:, :3].double()).Q for part in (value, expected[key]))
            assert subspace_overlap(Q, R) > 1 - 1e-4, key


def note_of(model, folder):
    model.save_pretrained(folder)
    return json.loads((folder / "retain_initialisation.json").read_text())


@pytest.fixture
def streams(monkeypatch):
    """How often a initialisation was solved while texts were read."""
    seen = []

    def spy(*arguments):
        found = adapter_stream(*arguments)
        seen.append(found is not None)
        return found

    adapter_stream = adapter._stream
    monkeypatch.setattr(adapter, "_stream", spy)
    return seen


@pytest.mark.parametrize("memory_limit", [None, 2_000_000])
@pytest.mark.parametrize("sample_norm", ["none", "max"])
@pytest.mark.parametrize("make", [llama, gpt2, lambda: llama(attention_bias=True, mlp_bias=True)])
def test_both_ways_take_one_subspace(make, sample_norm, memory_limit, streams):
    config = SCLoRAConfig(r=3, beta=0.2, sample_norm=sample_norm)
    told = []
    model = sc_lora(
        make(), config, learn=batches(LEARN), keep=batches(KEEP), memory_limit=memory_limit,
        on_layer=lambda *count: told.append(count),
    )  # fmt: skip
    other = by_statistics(make, config)
    assert streams == [True, False]
    layers = len(told)
    assert told == [(i + 1, layers) for i in range(layers)]
    assert_alike(model, other)


def test_the_note_says_the_same(tmp_path):
    config = SCLoRAConfig(r=3)
    model = sc_lora(llama(), config, learn=batches(LEARN), keep=batches(KEEP))
    left, right = note_of(model, tmp_path / "a"), note_of(by_statistics(llama, config), tmp_path / "b")
    assert left["data"] == right["data"]
    assert left["config"] == right["config"]
    assert [row["layer"] for row in left["layers"]] == [row["layer"] for row in right["layers"]]
    for one, other in zip(left["layers"], right["layers"], strict=True):
        for key in ("trace_learn", "trace_keep", "reward", "share_learn", "share_keep"):
            assert one[key] == pytest.approx(other[key], rel=1e-4, abs=1e-6), (one["layer"], key)
        assert one["overlap"] == pytest.approx(other["overlap"], abs=2e-2)


def test_a_limit_that_waiting_passes_exceed_is_kept_by_reading_more_often(streams):
    config, told = SCLoRAConfig(r=3, beta=0.7), []
    arguments = {"learn": batches(LEARN), "keep": batches(KEEP), "on_batch": lambda *count: told.append(count)}
    model = sc_lora(llama(), config, memory_limit=2_500, **arguments)
    assert streams == [False]
    assert max(passes for _, passes, _ in told) > 1
    assert_alike(model, by_statistics(llama, config))


def test_a_block_that_runs_twice_is_solved_from_statistics(streams):
    config = SCLoRAConfig(r=3, beta=0.7)
    model = sc_lora(shared_block(), config, learn=batches(LEARN), keep=batches(KEEP), memory_limit=2_500)
    assert streams == [False]
    assert_alike(model, by_statistics(shared_block, config))


def test_batches_that_can_be_read_once_only_are_summed_up_at_once(streams):
    model = sc_lora(llama(), SCLoRAConfig(r=3), learn=iter(batches(LEARN)), keep=iter(batches(KEEP)))
    assert streams == [False]
    other = sc_lora(llama(), SCLoRAConfig(r=3), learn=batches(LEARN), keep=batches(KEEP))
    assert_alike(model, other)


@pytest.mark.parametrize("initialisation", ["corda-kpm", "lora-null"])
def test_other_initialisations_need_the_inputs_and_are_not_streamed(initialisation, streams):
    sc_lora(llama(), SCLoRAConfig(r=3, initialisation=initialisation), keep=batches(KEEP))
    assert streams == [False]
