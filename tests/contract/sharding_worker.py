"""What test_contract_sharding does in two processes: FSDP2 and FSDP1 against one whole model.

Each process sees the same batch, so the averaged gradients are those of the whole model.
"""

import functools
import os
from pathlib import Path

import torch
import torch.distributed as dist
from contract_models import ARCHITECTURES, BY_NAME, adapted, disturb
from peft.utils.other import fsdp_auto_wrap_policy
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy

LLAMA = ARCHITECTURES["llama"]


def fresh(method, dtype=torch.float32):
    model = adapted(BY_NAME[method], LLAMA, dtype)
    disturb(model)
    return model


def step(model):
    """Two steps of training; the logits after them."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(2):
        model(**LLAMA.batch()).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        return model(**LLAMA.batch()).logits


def fsdp2(method, wrap_adapters, dtype=torch.float32):
    model = fresh(method, dtype)
    for layer in model.base_model.model.model.layers:
        if wrap_adapters:
            for module in layer.modules():
                if not list(module.children()) and any(p.requires_grad for p in module.parameters()):
                    fully_shard(module)
        fully_shard(layer)
    fully_shard(model)
    return model


def fsdp1(method, *, use_orig_params, policy):
    return FullyShardedDataParallel(
        fresh(method), auto_wrap_policy=policy, use_orig_params=use_orig_params, device_id=torch.device("cpu")
    )


def compare(method, rank):
    """Every kind of sharding trains to what the whole model trains to."""
    whole = fresh(method)
    expected = step(whole)
    close = functools.partial(torch.testing.assert_close, rtol=0, atol=2e-6)
    for wrap_adapters in (False, True):
        model = fsdp2(method, wrap_adapters)
        close(step(model), expected)
        state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, ignore_frozen_params=True))
        for name, parameter in whole.named_parameters():
            if parameter.requires_grad and rank == 0:
                close(state[name], parameter.detach())
    sharded = step(
        fsdp2(method, wrap_adapters=True, dtype=torch.bfloat16)
    )  # a unit has one dtype, so adapters are apart
    torch.testing.assert_close(sharded, step(fresh(method, torch.bfloat16)), rtol=0, atol=5e-3)
    block = type(whole.base_model.model.model.layers[0])
    by_block = functools.partial(transformer_auto_wrap_policy, transformer_layer_cls={block})
    os.environ["FSDP_TRANSFORMER_CLS_TO_WRAP"] = block.__name__
    close(step(fsdp1(method, use_orig_params=True, policy=by_block)), expected)
    close(step(fsdp1(method, use_orig_params=False, policy=fsdp_auto_wrap_policy(whole))), expected)


def work(rank: int, folder: Path) -> None:
    for method in BY_NAME:
        compare(method, rank)
        (folder / f"{method}-{rank}").touch()
        dist.barrier()
