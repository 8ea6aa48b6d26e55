"""Run by tests/slow/test_deepspeed.py in two processes: ZeRO-2 and ZeRO-3 against one whole model, on a processor.

Each process sees the same batch, so the averaged gradients are those of the whole model.
"""

import sys
import warnings
from pathlib import Path

import deepspeed
import torch
import torch.distributed as dist
from launch_worker import LLAMA, fresh, same_as_whole

from retain.jobs.launch.support import SHARDED
from retain.train.gathered import whole_state

warnings.filterwarnings("ignore")


def compare(stage: int, name: str) -> None:
    whole, model = fresh(name), fresh(name)
    optimizer = torch.optim.SGD([p for p in whole.parameters() if p.requires_grad], lr=0.5)
    for _ in range(2):
        whole(**LLAMA.batch()).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    config = {
        "train_micro_batch_size_per_gpu": 4, "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True, "zero_force_ds_cpu_optimizer": False,
    }  # fmt: skip
    own = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    engine, *_ = deepspeed.initialize(model=model, optimizer=own, config=config)
    for _ in range(2):
        engine.backward(engine(**LLAMA.batch()).loss)
        engine.step()
    state = whole_state(model)
    assert (state is None) is (stage == 2)
    if state is None:
        own_state = dict(model.named_parameters())
        for key, parameter in whole.named_parameters():
            if parameter.requires_grad:
                torch.testing.assert_close(own_state[key].detach(), parameter.detach(), rtol=0, atol=2e-6)
    else:
        same_as_whole(whole, state, atol=2e-6)


if __name__ == "__main__":
    torch.set_num_threads(1)
    deepspeed.init_distributed("gloo")
    for stage in (2, 3):
        for name in SHARDED:
            compare(stage, name)
            Path(sys.argv[1], f"{name}-{stage}-{dist.get_rank()}").touch()
