"""What a training step of a whole small model costs beside the frozen model and beside PEFT's LoRA.

    python benchmarks/model.py                          # Llama-, BERT- and ViT-shaped; writes results/model.json
    python benchmarks/model.py --kinds llama --checkpointing --name model-checkpointing

Hidden 512, 4 layers, 1,024 tokens as 4 × 256 (a ViT: 5 images of 197), all linear layers but an output head. Forward
and backward, CPU time, the cases in turn, the median of the
ratios of each round, and the ratio of the least times; the slow ones (VeRA,
OFT, DoRA, HRA) once, beside one step of the frozen model. The embeddings' output requires a gradient in every case.
`saved` is what autograd keeps for the backward pass, to the frozen model's. `peak` is the memory held at the most in a
first step beyond what was held before it, each case in a process of its own. Before, equal mathematics must give equal
numbers in float64 with fewer tokens.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import bases
import torch
from cases import CASES, FROZEN, LORA, SLOW, equal_mathematics, fused_equals_reference, made, make_all, passed
from common import (
    DTYPES,
    device,
    finish,
    in_turn,
    markdown,
    memory,
    options,
    prepare,
    ratios,
    saved_storages,
    timed,
    trainable,
)
from torch import Tensor

MIB = 2**20
COLUMNS = {
    "model": "kind", "base": "base", "case": "case", "step / frozen": "ratio", "of the least": "ratio_least",
    "step / LoRA": "ratio_lora", "CPU s a step": "seconds", "tokens/s": "tokens_per_second",
    "saved, MiB": "saved_mib", "saved / frozen": "saved_ratio", "peak beyond the model, MiB": "peak_mib",
    "trained": "trainable", "rounds": "rounds",
}  # fmt: skip

PRELOAD = [
    "torch", "peft", "retain.methods.vefa.layer", "retain.methods.lorfa.layer",
    *(f"transformers.models.{kind}.modeling_{kind}" for kind in bases.KINDS),
]  # fmt: skip
"""Imported once, so that each case's process begins at once."""


def base(asked: argparse.Namespace, kind: str, dtype: torch.dtype) -> Any:
    """A frozen model as the options say."""
    return bases.make(kind, asked.hidden, asked.layers, dtype, checkpointing=asked.checkpointing)


def step(model: Any, kind: str, inputs: dict[str, Tensor]) -> float:
    """Seconds of a forward and a backward pass."""
    seconds, _ = timed(lambda: bases.loss(model, kind, inputs).backward())  # type: ignore[no-untyped-call]  # torch's
    model.zero_grad()
    return seconds


def outcome(model: Any, kind: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """What comes out, and for a random gradient of it that of the embeddings' output and all parameters' gradients."""
    kept: list[Tensor] = []
    hook = model.get_input_embeddings().register_forward_hook(lambda _m, _i, embedded: kept.append(embedded))
    y = bases.output(model, kind, inputs)
    hook.remove()
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    kept[0].retain_grad()
    y.backward(g.to(y))  # type: ignore[no-untyped-call]  # torch's
    found = {"output": y.detach(), "input": kept[0].grad.clone() if kept[0].grad is not None else torch.zeros(0)}
    found |= {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def gate(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """In float64, with few tokens: equal mathematics, and our fast paths against the plain forms."""
    checks: list[dict[str, Any]] = []
    for kind in asked.kinds:
        frozen = base(asked, kind, torch.float64)
        inputs, _ = bases.reads(kind, 2, min(asked.length, 32))

        def run(model: Any, kind: str = kind, inputs: dict[str, Tensor] = inputs) -> dict[str, Tensor]:
            return outcome(model, kind, inputs)

        found = equal_mathematics(frozen, asked.rank, run) + fused_equals_reference(frozen, asked.rank, run)
        checks += [{**check, "check": f"{kind}: {check['check']}"} for check in found]
    return checks


def peak(asked: argparse.Namespace, kind: str, base_name: str, name: str) -> int:
    """In a fresh process: the bytes held at the most in the first step beyond those held before it."""
    prepare(asked.threads)
    inputs, _ = bases.reads(kind, asked.rows, asked.length)
    model = made(name, base(asked, kind, DTYPES[base_name]), asked.rank)
    step(model, kind, bases.reads(kind, 1, 8)[0])  # what is set up once
    if device().type == "cuda":
        held = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step(model, kind, inputs)
        return torch.cuda.max_memory_allocated() - held
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    step(model, kind, inputs)
    return memory("VmHWM") - before


def peaks(asked: argparse.Namespace, kind: str, base_name: str, names: list[str]) -> dict[str, int]:
    """`peak` of each case, one process each."""
    context = multiprocessing.get_context("forkserver" if device().type == "cpu" else "spawn")
    if device().type == "cpu":
        context.set_forkserver_preload(PRELOAD)
    found = {}
    for name in names:
        with context.Pool(1) as pool:
            found[name] = pool.apply(peak, (asked, kind, base_name, name))
    return found


def measure(asked: argparse.Namespace, kind: str, base_name: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """All cases over one model; those left out."""
    frozen = base(asked, kind, DTYPES[base_name])
    inputs, tokens = bases.reads(kind, asked.rows, asked.length)
    models, left_out = make_all(frozen, asked.rank, tuple(name for name in CASES if asked.slow or name not in SLOW))
    jobs = {name: partial(step, model, kind, inputs) for name, model in models.items()}
    times = in_turn({name: job for name, job in jobs.items() if name not in SLOW}, asked.rounds)
    beside = {name: ([jobs[name]()], [jobs[FROZEN]()]) for name in jobs if name in SLOW}
    saved = {  # with checkpointing, reading what is kept would compute it again; the peaks tell there
        name: sum(saved_storages(partial(bases.loss, model, kind, inputs), model).values())
        for name, model in models.items()
        if not asked.checkpointing
    }
    most = peaks(asked, kind, base_name, [name for name in models if name not in SLOW]) if asked.peaks else {}
    rows = []
    for name, model in models.items():
        mine, yard = beside.get(name, (times.get(name, []), times[FROZEN]))
        ratio, least = ratios(mine, yard)
        seconds = statistics.median(mine)
        lora = ratios(mine, times[LORA])[0] if name not in SLOW else None
        rows.append({
            "kind": kind, "base": base_name, "case": name, "ratio": ratio, "ratio_least": least, "ratio_lora": lora,
            "seconds": seconds, "tokens_per_second": tokens / seconds, "tokens": tokens, "rounds": len(mine),
            "seconds_each_round": mine, "saved_bytes": saved.get(name),
            "saved_mib": saved[name] / MIB if saved else None,
            "saved_ratio": saved[name] / saved[FROZEN] if saved else None, "peak_bytes": most.get(name),
            "peak_mib": most[name] / MIB if name in most else None, "trainable": trainable(model),
        })  # fmt: skip
    return rows, left_out


def main(arguments: list[str] | None = None) -> None:
    """Check, measure, write."""
    parser = options(str(__doc__), rounds=5)
    parser.add_argument("--kinds", nargs="+", choices=bases.KINDS, default=list(bases.KINDS))
    parser.add_argument("--hidden", type=int, default=512, help="a multiple of 64 (%(default)s)")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--checkpointing", action="store_true", help="compute each layer's inside twice, keep it never")
    parser.add_argument("--no-slow", dest="slow", action="store_false", help="leave VeRA, OFT, DoRA and HRA out")
    parser.add_argument("--no-peaks", dest="peaks", action="store_false", help="leave the peaks of memory out")
    parser.add_argument("--name", default="model", help="of the file written (%(default)s)")
    asked = parser.parse_args(arguments)
    prepare(asked.threads)
    checks = gate(asked)
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    if passed(checks):
        for kind in asked.kinds:
            for base_name in asked.bases:
                found, missing = measure(asked, kind, base_name)
                rows += found
                left_out |= {f"{kind}, {base_name}: {name}": why for name, why in missing.items()}
        print(markdown(rows, COLUMNS))
    content = {"gate": checks, "left_out": left_out, "columns": COLUMNS, "rows": rows}
    finish(asked.name, asked, content, passed=passed(checks))


if __name__ == "__main__":
    main()
