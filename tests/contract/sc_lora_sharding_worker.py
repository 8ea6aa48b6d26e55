"""What test_contract_sc_lora_sharding does in two processes: SC-LoRA sharded and whole.

Each process sees the same batch, so the averaged gradients are those of the whole model.
"""

import functools
import traceback
from pathlib import Path

import torch
import torch.distributed as dist
from contract_models import ARCHITECTURES
from sc_lora_models import disturb, initialised
from sharding_worker import step
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy

LLAMA = ARCHITECTURES["llama"]
WHOLE = StateDictOptions(full_state_dict=True, ignore_frozen_params=True)


def fresh(dtype=torch.float32, size=0.05):
    model = initialised(LLAMA, dtype, lora_alpha=3, target_modules=["q_proj", "down_proj"])
    disturb(model, size=size)
    return model


def fsdp2(dtype=torch.float32, *, leaves, **fields):
    model = fresh(dtype, **fields)
    for layer in model.base_model.model.model.layers:
        if leaves:
            for module in list(layer.modules()):
                if not list(module.children()) and any(p.requires_grad for p in module.parameters()):
                    fully_shard(module)
        fully_shard(layer)
    fully_shard(model)
    return model


def fsdp1():
    model = fresh()
    block = type(model.base_model.model.model.layers[0])
    policy = functools.partial(transformer_auto_wrap_policy, transformer_layer_cls={block})
    return FullyShardedDataParallel(model, auto_wrap_policy=policy, use_orig_params=True, device_id=torch.device("cpu"))


def in_fsdp2(folder, kind, whole, expected):
    """It trains as the whole model does, and gives the whole model's factors; the first process saves them."""
    model = fsdp2(leaves=kind.endswith("leaves"))
    torch.testing.assert_close(step(model), expected, rtol=0, atol=2e-6)
    state = get_model_state_dict(model, options=WHOLE)
    if dist.get_rank() == 0:
        wanted = {key: value for key, value in whole.state_dict().items() if ".lora_" in key}
        assert {key for key in state if ".lora_" in key} == wanted.keys()
        for key, value in wanted.items():
            torch.testing.assert_close(state[key], value, rtol=0, atol=2e-6)
        model.save_pretrained(folder / kind, state_dict=state)
    shared, trained_on = [state], step(model)
    dist.broadcast_object_list(shared)
    for given, broadcast in ((state, True), (shared[0], False)):  # as the first process read it, or every one
        options = StateDictOptions(full_state_dict=True, strict=False, broadcast_from_rank0=broadcast)
        restored = fsdp2(leaves=kind.endswith("leaves"), size=0.0)
        set_model_state_dict(restored, given, options=options)
        torch.testing.assert_close(step(restored), trained_on, rtol=0, atol=2e-6)


def in_fsdp2_over_bf16(*_):
    """A unit has one dtype, so adapters are units of their own."""
    found = step(fsdp2(torch.bfloat16, leaves=True))
    torch.testing.assert_close(found, step(fresh(torch.bfloat16)), rtol=0, atol=5e-3)


def in_fsdp1(folder, kind, whole, expected):
    torch.testing.assert_close(step(fsdp1()), expected, rtol=0, atol=2e-6)


CASES = {"fsdp2": in_fsdp2, "fsdp2-leaves": in_fsdp2, "fsdp2-leaves-bf16": in_fsdp2_over_bf16, "fsdp1": in_fsdp1}


def work(rank: int, folder: Path) -> None:
    whole = fresh()
    expected = step(whole)
    if rank == 0:
        whole.save_pretrained(folder / "whole")
    for kind, case in CASES.items():
        try:
            case(folder, kind, whole, expected)
            (folder / f"{kind}-{rank}").touch()
        except Exception:  # noqa: BLE001 -- the other kinds are tried still
            traceback.print_exc()
        dist.barrier()
