"""What a training step of SC-LoRA costs beside PEFT's LoRA of the same rank, on the same model in one process.

    python benchmarks/sc_lora_step.py            # SmolLM2-135M, 4 sequences of 128 tokens, rank 32; writes results/

Forward and backward, CPU time of one thread, the cases in turn, the median of the ratios of each round. The adapter is
checked first: at the start its logits are the base's, bit for bit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from retain import SCLoRAConfig, sc_lora

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / ".assets" / "smollm2-135m-instruct"


def load(dtype: torch.dtype) -> Any:
    """The base, in training mode without its own gradients."""
    return AutoModelForCausalLM.from_pretrained(MODEL, dtype=dtype, attn_implementation="eager").requires_grad_(
        requires_grad=False
    )


def lora(dtype: torch.dtype, rank: int) -> Any:
    """PEFT's LoRA, B away from 0 as after some training."""
    model = get_peft_model(load(dtype), LoraConfig(r=rank, lora_alpha=rank, target_modules="all-linear"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=1e-3)
    return model


def started(dtype: torch.dtype, rank: int) -> Any:
    """SC-LoRA's adapter; where it starts does not change what it costs."""
    return sc_lora(load(dtype), SCLoRAConfig(r=rank, initialisation="random-start"))


def step(model: Any, ids: torch.Tensor) -> float:
    """CPU seconds of one forward and backward pass."""
    began = time.process_time()
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    spent = time.process_time() - began
    model.zero_grad()
    return spent


def flops(model: Any, ids: torch.Tensor) -> int:
    """Floating-point operations of one forward and backward pass, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    model.zero_grad()
    return int(counter.get_total_flops())


def main() -> None:
    """Measure both precisions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rank", type=int, default=32)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    ids = torch.randint(100, 40000, (4, 128), generator=torch.Generator().manual_seed(0))
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        models = {
            f"LoRA r {asked.rank}": lora(dtype, asked.rank),
            f"SC-LoRA r {asked.rank}": started(dtype, asked.rank),
            f"LoRA r {2 * asked.rank}": lora(dtype, 2 * asked.rank),
        }
        with torch.no_grad():
            same = torch.equal(models[f"SC-LoRA r {asked.rank}"](ids[:1]).logits, load(dtype)(ids[:1]).logits)
        if not same:
            raise SystemExit("the adapter changes the base at its start; what it costs is of no matter")
        rounds = [{name: step(model, ids) for name, model in models.items()} for _ in range(asked.rounds + 1)][1:]
        first = next(iter(models))
        work = {name: flops(model, ids) for name, model in models.items()}
        for name in models:
            ratios = [one[name] / one[first] for one in rounds]
            seconds = statistics.median(one[name] for one in rounds)
            rows.append(
                {"base": str(dtype), "case": name, "seconds": seconds, "ratio": statistics.median(ratios),
                 "least": min(ratios), "flops": work[name], "flops_ratio": work[name] / work[first]}
            )  # fmt: skip
            print(
                f"{dtype}  {name:<14} {seconds:6.2f} s  {rows[-1]['ratio']:.3f} of LoRA r {asked.rank}, "
                f"operations {rows[-1]['flops_ratio']:.3f}",
                flush=True,
            )
    versions = {package: version(package) for package in ("retain", "torch", "transformers", "peft")}
    folder = Path(__file__).with_name("results")
    folder.mkdir(exist_ok=True)
    text = json.dumps({"versions": versions, "load": os.getloadavg(), "rows": rows}, indent=1)
    (folder / "sc_lora_step.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
