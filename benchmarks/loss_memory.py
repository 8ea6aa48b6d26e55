"""What a training step holds and costs with the model's own loss and with the chunked one, LoRA on SmolLM2-135M.

    OMP_NUM_THREADS=1 python benchmarks/loss_memory.py     # writes results/loss_memory.json

Each case is a process of its own: forward and backward, several rounds. Memory is the most that the process held in a
round (VmHWM, reset before it) beyond what it held before; seconds are CPU time of one thread, the median of the rounds.
Before it is believed, loss and gradients of both ways are compared. `--way torch` measures, alone, the chunked loss
that torch has since 2.13, with chunks of the same size.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from retain.kernels.cross_entropy import LOGITS
from retain.train import lean_loss as training_loss
from retain.train.lean_loss import agrees, lean_loss, piece_of

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / ".assets" / "smollm2-135m-instruct"
RESULTS = Path(__file__).with_name("results") / "loss_memory.json"
BATCH = 4
MAY_DIFFER = {"float32": (1e-5, 1e-3), "bfloat16": (2e-3, 5e-2)}
"""How far the losses and the gradients of both ways may lie apart, relative."""


def adapted(dtype: str) -> Any:
    """The base with PEFT's LoRA of rank 8 on all linear layers, B away from 0 as after some training."""
    base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=getattr(torch, dtype))
    torch.manual_seed(0)
    model = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=1e-3)
    return model.train()


def batch(tokens: int, labelled: float) -> dict[str, torch.Tensor]:
    """Random tokens; the last part of each sequence, `labelled` of it, is learned."""
    ids = torch.randint(100, 40000, (BATCH, tokens), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[:, : tokens - round(labelled * tokens)] = -100
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def held(what: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(what)).split()[1])


def torchs_own(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, labels: torch.Tensor, **_: Any
) -> torch.Tensor:
    """The mean loss by torch.nn.functional.linear_cross_entropy."""
    chosen = labels.ne(-100)
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=LOGITS // len(weight), chunking_method=None)
    return torch.nn.functional.linear_cross_entropy(
        hidden[chosen], weight, labels[chosen], linear_bias=bias, options=options
    )


def one_case(asked: argparse.Namespace) -> dict[str, Any]:
    """Measure one way in this process; its gradients go into a file."""
    torch.set_num_threads(1)
    model, inputs = adapted(asked.dtype), batch(asked.tokens, asked.labelled)
    piece = piece_of(inputs)
    if piece is None or not agrees(model, piece):
        raise SystemExit("the chunked loss is not this model's; what it costs is of no matter")
    if asked.way == "torch":
        patch.object(training_loss, "chunked_cross_entropy", torchs_own).start()
    way = (lambda: model(**inputs).loss) if asked.way == "plain" else (lambda: lean_loss(model, inputs))
    seconds, peaks, loss = [], [], torch.tensor(0.0)
    for _ in range(asked.rounds):
        model.zero_grad()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before, began = held("VmRSS"), time.process_time()
        loss = way()
        loss.backward()
        seconds.append(time.process_time() - began)
        peaks.append(held("VmHWM") - before)
    save_file({n: p.grad for n, p in model.named_parameters() if p.grad is not None}, asked.file)
    return {"loss": float(loss), "seconds": seconds, "peak_bytes": peaks}


def distance(one: Path, other: Path) -> float:
    """Relative distance of two files of gradients."""
    mine, theirs = (torch.cat([part.flatten().double() for part in load_file(path).values()]) for path in (one, other))
    return float((mine - theirs).norm() / theirs.norm())


def compare(asked: argparse.Namespace, dtype: str, tokens: int, labelled: float) -> dict[str, Any]:
    """Both ways, in a process each."""
    case: dict[str, Any] = {"dtype": dtype, "tokens": BATCH * tokens, "labelled": labelled}
    with tempfile.TemporaryDirectory() as folder:
        files = {way: Path(folder, way) for way in ("plain", "chunked")}
        for way, file in files.items():
            command = [sys.executable, __file__, "--way", way, "--dtype", dtype, "--file", str(file)]
            command += ["--tokens", str(tokens), "--labelled", str(labelled), "--rounds", str(asked.rounds)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603 -- this file
            case[way] = {**found, "median_seconds": statistics.median(found["seconds"])}
        apart = distance(files["chunked"], files["plain"])
    losses = abs(case["chunked"]["loss"] / case["plain"]["loss"] - 1)
    if losses > MAY_DIFFER[dtype][0] or apart > MAY_DIFFER[dtype][1]:
        raise SystemExit(f"{case}: the losses are {losses:.2g} apart, the gradients {apart:.2g}; nothing is measured")
    return {**case, "loss_apart": losses, "gradient_apart": apart}


def line(row: dict[str, Any]) -> str:
    """One case for people."""
    ways = [
        f"{way} {max(row[way]['peak_bytes']) / 1e6:6.0f} MB {row[way]['median_seconds']:6.2f} s,"
        for way in ("plain", "chunked")
    ]
    case = f"{row['dtype']:<9} {row['tokens']:>5} tokens, {row['labelled']:.0%} labelled:"
    return " ".join([case, *ways, f"losses {row['loss_apart']:.1e} apart, gradients {row['gradient_apart']:.1e}"])


def main() -> None:
    """Measure one case, or all in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, nargs="+", default=[192, 512])
    parser.add_argument("--dtype", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--labelled", type=float, nargs="+", default=[1.0, 0.25])
    parser.add_argument(
        "--way", choices=["plain", "chunked", "torch"], help="measure this alone, and write its gradients"
    )
    parser.add_argument("--file", default="")
    asked = parser.parse_args()
    if asked.way:
        single = {"dtype": asked.dtype[0], "tokens": asked.tokens[0], "labelled": asked.labelled[0]}
        print(json.dumps(one_case(argparse.Namespace(**{**vars(asked), **single}))))
        return
    rows = []
    for tokens in asked.tokens:
        for labelled in asked.labelled:
            for dtype in asked.dtype:
                rows.append(compare(asked, dtype, tokens, labelled))
                print(line(rows[-1]), flush=True)
                versions = {package: version(package) for package in ("retain", "torch", "transformers", "peft")}
                text = json.dumps({"versions": versions, "load": os.getloadavg(), "rows": rows}, indent=1)
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
