"""Which method works beside which base: nf4, 8 bits, torchao's int8, weights on disk. Each cell is tried, not written.

`cells()` gives what a table in the documentation shows: "tested", or "refused" with the sentence that `retain check`
says.
"""

from __future__ import annotations

import tempfile
from functools import cache

import torch
from contract_models import ARCHITECTURES
from torch import nn
from transformers import AutoModelForCausalLM

from retain.hf.adapters.attach import attach
from retain.hf.models.placement import resolved
from retain.hf.models.quantization_config import quantization_config
from retain.jobs.inputs.quantised_methods import method_problem, offload_problem
from retain.methods import lookup
from retain.methods.initialisations.adapter import sc_lora
from retain.methods.sparse.update import sparse_update
from retain.methods.table import METHODS, SPARSE, initialisations

TESTED = "tested"

QUANTISED = {"nf4": "4bit", "int8": "8bit", "torchao int8": "torchao-int8"}
"""Columns of quantised bases, and the recipe's words for them."""

OFFLOAD = "offload"
"""The column of bases whose weights lie on disk in part."""

OF_PEFT = ("lora", "ia3", "oft", "vera", "loha", "hra")
"""Methods of PEFT's that the table shows beside those of retain: the usual ones, and some that are refused."""


def methods() -> list[str]:
    """The rows: retain's methods, PEFT's, and training in full."""
    own = [method.name for method in METHODS]
    return [*dict.fromkeys([*own, *initialisations(), SPARSE.name, *OF_PEFT]), "full"]


@cache
def cell(method: str, column: str) -> str:
    """TESTED, or the sentence by which the method is refused there."""
    if column == OFFLOAD:
        return TESTED if (fault := _offloaded_fault(method)) is None else fault
    return method_problem(method, {}, quantization_config(QUANTISED[column])) or TESTED


def cells() -> dict[tuple[str, str], str]:
    """Every cell by method and column."""
    return {(method, column): cell(method, column) for method in methods() for column in (*QUANTISED, OFFLOAD)}


def _offloaded_fault(method: str) -> str | None:
    """The sentence by which a method is refused beside weights on disk; else a step there must be that in memory."""
    if refused := offload_problem(method, {}):
        return refused
    llama = ARCHITECTURES["llama"]
    with tempfile.TemporaryDirectory() as folder:
        llama.make().save_pretrained(folder)
        places = resolved({"": "cpu", "model.layers.1": "disk"}, llama.make())
        spread = AutoModelForCausalLM.from_pretrained(folder, device_map=places).eval()
        seen = [_step(base, method, llama.batch()) for base in (spread, llama.make())]
    far = max(float((one - other).abs().max()) for one, other in zip(*seen, strict=True))
    assert far < 1e-5, f"{method}: a step beside weights on disk is {far} off"
    return None


def _step(base: nn.Module, method: str, batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    model = adapted(base, method, batch)
    model(**batch).loss.backward()
    return [p.grad for p in model.parameters() if p.requires_grad]


def adapted(base: nn.Module, method: str, batch: dict[str, torch.Tensor]) -> nn.Module:
    """The base with an adapter of the method, by a fixed seed."""
    torch.manual_seed(0)
    if lookup.is_sparse(method):
        return sparse_update(base, lookup.sparse_config({"density": 0.05}), learn=[batch])
    if not lookup.is_data_driven(method):
        return attach(base, method)
    texts = {text: [batch] for text in lookup.calibration(method)}
    return sc_lora(base, lookup.initialisation_config(method, {"r": 4}), **texts)
