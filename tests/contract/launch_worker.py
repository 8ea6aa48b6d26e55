"""Run by test_contract_launch in a process of its own: the stages of runs in two processes, and regularisers on FSDP2.

The runs are those of a job whose workers Accelerate's launcher starts, without the launcher: each process does what
`retain.jobs.launch.worker` does after it has read the recipe.
"""

import json
import os
import socket
import sys
import traceback
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
from contract_models import ARCHITECTURES, BY_NAME, adapted
from peft import LoraConfig, get_peft_model
from sc_lora_models import disturb as disturb_sc_lora
from sc_lora_models import initialised
from torch import Tensor
from torch.distributed.fsdp import fully_shard
from torch.multiprocessing import start_processes
from transformers import TrainerState, TrainingArguments

from retain.errors import InputError
from retain.events import SILENT
from retain.hf.models.describe import model_hash
from retain.jobs.adapt import train_or_load
from retain.jobs.base_predictions import base_predictions
from retain.jobs.inputs.prepare import prepare
from retain.jobs.launch.together import first_process_first
from retain.jobs.run import Run
from retain.recipe import Recipe
from retain.records.manifest import begin
from retain.train.gathered import whole_state
from retain.train.regularise.divergence import Divergence
from retain.train.regularise.kl_monitor import KLMonitor
from retain.train.regularise.kl_penalty import KLPenalty
from retain.train.regularise.update_limit import UpdateLimit

warnings.filterwarnings("ignore")
LLAMA = ARCHITECTURES["llama"]


def stages(recipe: Recipe) -> None:
    """What a worker does, in one process or in one of several."""
    run = Run.of(recipe, prepare(recipe, tried=True), SILENT)
    with first_process_first():
        run.folder.path.mkdir(parents=True, exist_ok=True)
        begin(run.folder.path)
        base = run.base()
    weights = model_hash(base)
    base_predictions(run, base, weights)
    train_or_load(run, base, weights)


def fresh(name: str):
    if name == "sc-lora":
        model = initialised(LLAMA, lora_alpha=3, target_modules=["q_proj", "down_proj"])
        disturb_sc_lora(model, size=0.05)
        return model
    if name == "lora":
        model = get_peft_model(LLAMA.make(), LoraConfig(target_modules=["q_proj", "down_proj"]))
    else:
        model = adapted(BY_NAME[name], LLAMA)
    torch.manual_seed(5)
    for parameter in (p for p in model.parameters() if p.requires_grad):
        torch.nn.init.normal_(parameter, std=0.3 if name == "lora" else 0.05)
    return model


def sharded(name: str):
    model = fresh(name)
    for layer in model.base_model.model.model.layers:
        fully_shard(layer)
    fully_shard(model)
    return model


def text_batch() -> dict[str, Tensor]:
    """Three rows of unlike lengths, so that two processes get unlike shares."""
    ids = LLAMA.batch(rows=3)["input_ids"]
    mask = torch.ones_like(ids)
    mask[1, 3:], mask[2, 2:] = 0, 0
    return {"input_ids": ids, "attention_mask": mask}


def same_as_whole(whole: torch.nn.Module, kept: dict[str, Tensor], atol: float = 0.0) -> None:
    """In the first process: the weights of the adapters, under the names that files have."""
    wanted = {key: value for key, value in whole.state_dict().items() if key in kept}
    assert kept.keys() == wanted.keys()
    assert dist.get_rank() or len(kept) >= sum(p.requires_grad for p in whole.parameters())
    for key, value in wanted.items():
        torch.testing.assert_close(kept[key], value, rtol=0, atol=atol)


def on_fsdp2(name: str, folder: Path) -> None:
    """The penalty beside a step of the task, the monitor and the whole weights are those of the whole model."""
    batch, close = text_batch(), {"rtol": 0, "atol": 3e-6}
    whole, model = fresh(name), sharded(name)
    kl = Divergence()(whole, batch)
    (0.5 * kl).backward()
    whole(**LLAMA.batch()).loss.backward()
    arguments = TrainingArguments(output_dir=str(folder / "out"), report_to="none", use_cpu=True)
    penalty, state = KLPenalty([batch], weight=0.5), TrainerState(stateful_callbacks=[])
    penalty.on_train_begin(arguments, state, None, model=model)
    penalty.on_step_begin(arguments, state, None, model=model)
    model(**LLAMA.batch()).loss.backward()
    torch.testing.assert_close(penalty.kl, float(kl), rtol=1e-4, atol=1e-6)
    found = {name: p.grad.full_tensor() for name, p in model.named_parameters() if p.requires_grad}
    for key, parameter in whole.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(found[key], parameter.grad, **close)
    monitor = KLMonitor([batch], limit=1.0)
    monitor.on_train_begin(arguments, state, None, model=model)
    monitor._probe(arguments, state, model)
    torch.testing.assert_close(monitor.points[-1][1], float(kl), rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.add_(1.0)
        monitor.best = monitor.points[-1]
        monitor._restore(model)
    kept = whole_state(model)
    assert bool(kept) is (dist.get_rank() == 0)
    same_as_whole(whole, kept)
    try:
        UpdateLimit(0.1).on_train_begin(arguments, state, None, model=model)
    except InputError as error:
        assert "DDP" in str(error)  # noqa: PT017 -- no pytest in this process
    else:
        raise AssertionError("the update limit takes pieces of layers for layers")


def work(rank: int, folder: Path, port: int) -> None:
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2"
    )
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    asked = json.loads((folder / "asked.json").read_text(encoding="utf-8"))
    tasks = [(f"fsdp2-{name}", lambda name=name: on_fsdp2(name, folder)) for name in asked["sharded"]]
    tasks += [(name, lambda values=values: stages(Recipe(**values))) for name, values in asked["recipes"].items()]
    for name, task in tasks:
        try:
            task()
            (folder / f"{name}-{rank}").touch()
        except Exception:  # noqa: BLE001 -- the others are tried still
            traceback.print_exc()
        dist.barrier()
    dist.destroy_process_group()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


if __name__ == "__main__":
    start_processes(work, args=(Path(sys.argv[1]), free_port()), nprocs=2, start_method="fork")
