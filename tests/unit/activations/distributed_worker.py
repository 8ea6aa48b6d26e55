"""The scenarios of test_distributed: what each of two processes, with a share of the data, must get, as one does."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from calibration import batches, embedded, llama, moments_of, same_moments, sentences
from retain import SCLoRAConfig, sc_lora
from retain.activations import collect, load

ROWS, KEEP = sentences(14), sentences(10, seed=3)
LIMIT = 5_000
PARTS = {"target_modules": ["body.q", "body.k"]}


def alone(rows=ROWS, **fields):
    return collect(llama(), batches(rows), **{"dtype": "float64", **fields})


ALONE, ALONE_SCALED, ALONE_KEEP = alone(), alone(sample_norm="max"), alone(KEEP)
"""Made before there is a process group."""


def share(rows, rank):
    """Uneven shares: five batches of two for the first process, one of the rest for the other."""
    return batches(rows[:10], 2) if rank == 0 else batches(rows[10:], 4, "left")


def same(found, expected):
    same_moments(found, expected)
    assert found.tokens == expected.tokens
    assert found.manifest.data_hash == expected.manifest.data_hash
    assert sorted(found.manifest.sequences) == sorted(expected.manifest.sequences)
    assert found.manifest.layers == expected.manifest.layers
    for leader, source in found.manifest.sources.items():
        theirs = expected.manifest.sources[leader]
        assert source.tokens == theirs.tokens
        assert abs(source.weight / theirs.weight - 1) < 1e-12
        assert abs(source.energy / theirs.energy - 1) < 1e-12


def starts(model):
    return {name: value for name, value in model.named_buffers() if name.endswith(".initial")}


def halves(rank, folder):
    same(collect(llama(), share(ROWS, rank), dtype="float64"), ALONE)
    same(collect(llama(), share(ROWS, rank), dtype="float64", sample_norm="max"), ALONE_SCALED)


def adapters(rank, folder):
    config = SCLoRAConfig(r=2)
    model = sc_lora(llama(), config, learn=share(ROWS, rank), keep=batches(KEEP[rank::2]))
    _same_adapter(model, sc_lora(llama(), config, learn=ALONE, keep=ALONE_KEEP))


def _same_adapter(model, expected):
    mine, expected = starts(model), starts(expected)
    everybodys = [None, None]
    dist.all_gather_object(everybodys, mine)
    for name, value in expected.items():
        assert torch.equal(everybodys[0][name], everybodys[1][name])
        if name.endswith("lora_B.default.initial"):
            torch.testing.assert_close(mine[name] @ mine[name].T, value @ value.T, rtol=0, atol=1e-3)


def kept_in_a_folder(rank, folder):
    same(collect(llama(), share(ROWS, rank), dtype="float64", folder=folder), ALONE)
    same(load(folder), ALONE)
    dist.barrier()  # until both are done with the folder
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["manifest.json", "moments-00000.safetensors"]
    dist.barrier()  # before either collects into it again
    same(collect(llama(), share(ROWS, rank), dtype="float64", folder=folder), ALONE)


def in_parts(rank, folder):
    same(collect(llama(), share(ROWS, rank), dtype="float64", memory_limit=LIMIT, folder=folder), ALONE)


def interrupted(rank, folder):
    sys.modules["retain.activations.collect"].SECONDS_BETWEEN_SAVES = 0.0

    def broken():
        yield from share(ROWS, rank)[: 3 - 2 * rank]
        raise KeyError

    try:
        collect(llama(), broken(), dtype="float64", folder=folder)
    except KeyError:
        dist.barrier()
    model, runs = llama(), []
    model.model.embed_tokens.register_forward_pre_hook(lambda *_: runs.append(1))
    same(collect(model, share(ROWS, rank), dtype="float64", folder=folder), ALONE)
    assert len(runs) == 2 - 2 * rank


def one_process_was_behind(rank, folder):
    """Stopped twice, the first time when one process had noted two parts as done and the other one."""
    fields = {"dtype": "float64", "memory_limit": LIMIT, "folder": folder}
    for stop in (2, 3):

        def tick(number, *_, stop=stop):
            if number == stop:
                raise KeyError

        try:
            collect(llama(), share(ROWS, rank), tick=tick, **fields)
        except KeyError:
            dist.barrier()
        state = folder / "unfinished-1.json"
        if stop == 2 and rank == 1:
            found = json.loads(state.read_text())
            state.write_text(json.dumps(found | {"parts": found["parts"][:1]}))
        dist.barrier()
    same(collect(llama(), share(ROWS, rank), **fields), ALONE)


class Forked(nn.Module):
    """Two layers; the second reads another tensor, the same one, or none in sentences of an odd length."""

    odd = "another"

    def __init__(self):
        super().__init__()
        self.q, self.k = nn.Linear(6, 5), nn.Linear(6, 5)

    def forward(self, x):
        if x.shape[1] % 2 == 0:
            return self.q(x) + self.k(x)
        return self.q(x) + {"another": lambda: self.k(x.exp()), "none": lambda: 0}[self.odd]()


class OneOnly(Forked):
    def forward(self, x):
        return self.q(x) + (self.k(x.exp()) if x.shape[1] % 2 else 0)


class NoneWhereOdd(Forked):
    odd = "none"


def by_parity(kind, rank, rows=ROWS):
    """All sentences of an odd length in the first process, all others in the second."""
    mine = [{"input_ids": torch.tensor([row])} for row in rows if len(row) % 2 != rank]
    found = collect(embedded(kind), mine, targets=PARTS, dtype="float64")
    for name, expected in moments_of(embedded(kind), PARTS["target_modules"], rows).items():
        torch.testing.assert_close(found.second_moment(name), expected, rtol=0, atol=1e-10)


def a_layer_that_runs_in_one_process(rank, folder):
    by_parity(OneOnly, rank)


def a_layer_that_shares_in_one_process(rank, folder):
    by_parity(Forked, rank)


def a_sharer_that_runs_in_one_process(rank, folder):
    by_parity(NoneWhereOdd, rank)


def sharing_that_ends_in_one_process(rank, folder):
    even, odd = ([row for row in ROWS if len(row) % 2 == parity] for parity in (0, 1))
    mine = [{"input_ids": torch.tensor([row])} for row in ([*even[:2], *odd] if rank == 0 else even[2:])]
    found = collect(embedded(Forked), mine, targets=PARTS, dtype="float64")
    for name, expected in moments_of(embedded(Forked), PARTS["target_modules"], ROWS).items():
        torch.testing.assert_close(found.second_moment(name), expected, rtol=0, atol=1e-10)


def a_process_without_data(rank, folder):
    same(collect(llama(), [] if rank else batches(ROWS), dtype="float64"), ALONE)


def a_process_without_data_in_parts(rank, folder):
    given = [] if rank else batches(ROWS)
    same(collect(llama(), given, dtype="float64", memory_limit=LIMIT, folder=folder), ALONE)


def adapters_in_parts(rank, folder):
    config, keep = SCLoRAConfig(r=2), batches(KEEP[rank::2])
    model = sc_lora(llama(), config, learn=share(ROWS, rank), keep=keep, memory_limit=LIMIT)
    _same_adapter(model, sc_lora(llama(), config, learn=ALONE, keep=ALONE_KEEP))


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        halves, adapters, kept_in_a_folder, in_parts, interrupted, one_process_was_behind,
        a_layer_that_runs_in_one_process, a_layer_that_shares_in_one_process, a_sharer_that_runs_in_one_process,
        sharing_that_ends_in_one_process, a_process_without_data, a_process_without_data_in_parts, adapters_in_parts,
    )
}  # fmt: skip


def work(rank: int, name: str, folder: Path) -> None:
    SCENARIOS[name](rank, folder)
