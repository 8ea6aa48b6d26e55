"""Sums that do not fit into memory at once are made in several passes over the data."""

import pytest
import torch

from calibration import batches, gpt2, llama, same_moments, sentences
from retain import SCLoRAConfig, sc_lora
from retain.activations import collect, load
from retain.errors import InputError

ROWS = sentences(10)
LIMIT = 5_000
"""Bytes: 24² + 24 float64 of one down_proj, or 16² + 16 of two other tensors."""


@pytest.mark.parametrize("make", [llama, gpt2])
@pytest.mark.parametrize("sample_norm", ["none", "max"])
def test_several_passes_give_the_same_sums(make, sample_norm, tmp_path):
    fields = {"dtype": "float64", "sample_norm": sample_norm}
    limit = LIMIT if make is llama else 40_000
    ticks = []
    found = collect(
        make(), batches(ROWS), memory_limit=limit, folder=tmp_path, tick=lambda *told: ticks.append(told), **fields
    )
    same_moments(found, collect(make(), batches(ROWS), **fields), atol=0 if sample_norm == "max" else 1e-12)
    passes = ticks[0][1]
    assert passes > 1
    assert ticks == [(number, passes, batch) for number in range(passes) for batch in (1, 2, 3)]
    assert len(list(tmp_path.glob("moments-*.safetensors"))) == passes
    assert found.tokens == sum(map(len, ROWS))


def test_no_pass_holds_more_than_the_limit(tmp_path):
    found = collect(llama(), batches(ROWS), dtype="float64", memory_limit=LIMIT, folder=tmp_path)
    held = {}
    for leader, source in found.manifest.sources.items():
        held[source.file] = held.get(source.file, 0) + found.moments(leader).nbytes
    assert max(held.values()) <= LIMIT
    assert len(found.manifest.sources) == 8  # layers that read one tensor stay together and share


def test_a_limit_that_holds_everything_is_one_pass(tmp_path):
    ticks = []
    collect(
        llama(), batches(ROWS), memory_limit=10**9, folder=tmp_path, tick=lambda *told: ticks.append(told)
    )  # fmt: skip
    assert ticks == [(0, 1, 1), (0, 1, 2), (0, 1, 3)]


def test_sums_of_layers_kept_apart_take_more_passes(tmp_path):
    counts = []
    for share in (True, False):
        collect(
            llama(), batches(ROWS), memory_limit=LIMIT, folder=tmp_path / str(share), share_inputs=share,
            tick=lambda _, total, __: counts.append(total),
        )  # fmt: skip
    assert counts[0] < counts[-1]


def test_each_pass_stops_where_its_layers_end(tmp_path):
    model, runs = llama(), []
    model.model.layers[1].mlp.down_proj.register_forward_pre_hook(lambda *_: runs.append(1))
    collect(model, batches(ROWS), dtype="float64", memory_limit=LIMIT, folder=tmp_path)
    passes = len(list(tmp_path.glob("moments-*.safetensors")))
    assert len(runs) < passes * len(batches(ROWS))


@pytest.mark.parametrize("limit", [100, 4_799])
def test_a_limit_below_one_layer_is_refused_with_what_it_takes(tmp_path, limit):
    with pytest.raises(InputError, match=r"(q_proj alone take 2,176|down_proj alone take 4,800)"):
        collect(llama(), batches(ROWS), dtype="float64", memory_limit=limit, folder=tmp_path)
    collect(llama(), batches(ROWS), dtype="float64", memory_limit=4_800, folder=tmp_path)


def test_a_limit_needs_a_folder_and_batches_that_can_be_read_again(tmp_path):
    for fields in (
        {"batches": iter(batches(ROWS)), "folder": tmp_path},
        {"batches": (b for b in batches(ROWS)), "folder": tmp_path},
        {"batches": batches(ROWS)},
    ):
        with pytest.raises(InputError, match="memory_limit needs a folder, and batches"):
            collect(llama(), memory_limit=LIMIT, **fields)


class Changing(list):
    """Other batches each time they are read."""

    reads = 0

    def __iter__(self):
        self.reads += 1
        return iter(batches(sentences(6, seed=self.reads)))


def test_data_that_change_between_passes_are_refused(tmp_path):
    with pytest.raises(InputError, match="second pass"):
        collect(llama(), Changing(), dtype="float64", memory_limit=LIMIT, folder=tmp_path)


def test_an_adapter_made_in_little_memory_is_the_same():
    learn, keep = batches(ROWS), batches(sentences(12, seed=3))
    made = []
    for limit in (None, LIMIT):
        with pytest.warns():  # few tokens
            model = sc_lora(llama(), SCLoRAConfig(r=2), learn=learn, keep=keep, memory_limit=limit)
        made.append({name: value for name, value in model.named_buffers() if name.endswith(".initial")})
    assert len(made[0]) == 28
    for name, value in made[0].items():
        torch.testing.assert_close(value, made[1][name], rtol=0, atol=5e-5)  # some are summed at outputs


def test_an_empty_run_does_not_spoil_its_folder(tmp_path):
    fields = {"dtype": "float64", "memory_limit": LIMIT, "folder": tmp_path}
    with pytest.raises(InputError, match="no tokens"):
        collect(llama(), [], **fields)
    collect(llama(), batches(ROWS), **fields)
    same_moments(load(tmp_path), collect(llama(), batches(ROWS), dtype="float64"), atol=1e-12)
