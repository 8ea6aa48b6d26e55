"""What it takes to start SC-LoRA, beside PEFT's CorDA and EVA, on the same tokens of the same model.

    python benchmarks/initialisation.py                    # all, one process each; writes results/
    python benchmarks/initialisation.py sc-lora corda-peft # some
    python benchmarks/initialisation.py --layer            # one layer 4096 → 11008, statistics given

Each case loads the model, notes the memory held, then does its work. `seconds` is CPU time, so that other work on the
machine counts little; `memory` the most held beyond the loaded model; `stored` what must be kept to begin again without
the data. `forward` is the model reading the same batches and nothing else; CorDA takes one sequence at a time, because
batches make it fail, so it has a forward of its own. CorDA needs `pip install attrs`, which PEFT does not ask for.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / ".assets" / "smollm2-135m-instruct"
RESULTS = Path(__file__).with_name("results")
NAMES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
RANK, LENGTH, BATCH = 32, 128, 16

Batches = list[dict[str, torch.Tensor]]


def read(tokens: int, batch: int) -> tuple[Batches, Batches]:
    """The same sequences of 128 tokens, without padding, to learn and to keep, in batches."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    found = []
    for name in ("headlines/train.jsonl", "reference.txt"):
        text = (ROOT / ".assets" / name).read_text(encoding="utf-8")
        ids = torch.tensor(tokenizer.encode(text)[:tokens])
        rows = ids[: len(ids) // LENGTH * LENGTH].view(-1, LENGTH)
        found.append([{"input_ids": part, "attention_mask": torch.ones_like(part)} for part in rows.split(batch)])
    return found[0], found[1]


def forward(model: Any, learn: Batches, keep: Batches) -> int:
    """Both sets through the model without its head, and nothing else."""
    with torch.no_grad():
        for batch in (*learn, *keep):
            model.model(**batch, use_cache=False)
    return 0


def forward_keep(model: Any, learn: Batches, keep: Batches) -> int:
    """What CorDA reads: the text to keep."""
    del learn
    return forward(model, [], keep)


def sc_lora_start(model: Any, learn: Batches, keep: Batches, memory_limit: int | None = None) -> int:
    """SC-LoRA, statistics included."""
    from retain import ScLoraConfig, sc_lora

    sc_lora(model, ScLoraConfig(r=RANK, beta=0.8), learn=learn, keep=keep, memory_limit=memory_limit)
    return 0


def sc_lora_stored(model: Any, learn: Batches, keep: Batches) -> int:
    """SC-LoRA with its statistics kept on disk, from which any β and rank can be started."""
    from retain import ScLoraConfig, sc_lora
    from retain.statistics import collect

    with tempfile.TemporaryDirectory() as folder:
        made = {
            name: collect(model, data, folder=Path(folder) / name, memory_limit=10**9)
            for name, data in (("learn", learn), ("keep", keep))
        }
        sc_lora(model, ScLoraConfig(r=RANK, beta=0.8), **made)
        return sum(file.stat().st_size for file in Path(folder).rglob("*.*"))


def corda_ours(model: Any, learn: Batches, keep: Batches) -> int:
    """CorDA's knowledge-preserved start by retain: the same product B0 A0 as its paper's, the base untouched."""
    from retain import ScLoraConfig, sc_lora

    del learn
    sc_lora(model, ScLoraConfig(r=RANK, start="corda-kpm"), keep=keep)
    return 0


def corda_peft(model: Any, learn: Batches, keep: Batches) -> int:
    """PEFT's CorDA as its manual has it: one sequence at a time, float32 moments."""
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora.config import CordaConfig
    from peft.tuners.lora.corda import preprocess_corda

    del learn
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache" / "eigens.pt"
        config = LoraConfig(
            init_lora_weights="corda",
            target_modules=NAMES,
            r=RANK,
            lora_alpha=RANK,
            corda_config=CordaConfig(corda_method="kpm", cache_file=str(cache)),
        )

        def run() -> None:
            with torch.no_grad():
                for batch in keep:
                    model(**batch, use_cache=False)

        preprocess_corda(model, config, run_model=run)
        get_peft_model(model, config)
        return cache.stat().st_size


def eva_peft(model: Any, learn: Batches, keep: Batches) -> int:
    """PEFT's EVA on the text to learn."""
    from peft import EvaConfig, LoraConfig, get_peft_model, initialize_lora_eva_weights

    del keep
    config = LoraConfig(
        init_lora_weights="eva", target_modules=NAMES, r=RANK, lora_alpha=RANK, eva_config=EvaConfig(rho=1.0)
    )
    adapted = get_peft_model(model, config, low_cpu_mem_usage=True)
    initialize_lora_eva_weights(adapted, learn)
    return 0


CASES: dict[str, tuple[Callable[..., int], int]] = {
    "forward": (forward, BATCH),
    "forward-keep": (forward_keep, BATCH),
    "forward-keep-one": (forward_keep, 1),
    "sc-lora": (sc_lora_start, BATCH),
    "sc-lora-100MB": (lambda *data: sc_lora_start(*data, memory_limit=100_000_000), BATCH),
    "sc-lora-stored": (sc_lora_stored, BATCH),
    "corda-retain": (corda_ours, BATCH),
    "corda-peft": (corda_peft, 1),
    "eva-peft": (eva_peft, BATCH),
}


def measure(name: str, tokens: int, threads: int) -> dict[str, Any]:
    """One case, in this process."""
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")
    work, batch = CASES[name]
    learn, keep = read(tokens, batch)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    forward(model, learn[:1], [])  # everything that is set up once
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    wall, began = time.perf_counter(), time.process_time()
    stored = work(model, learn, keep)
    return {
        "case": name,
        "seconds": time.process_time() - began,
        "wall_seconds": time.perf_counter() - wall,
        "memory_bytes": _status("VmHWM") - before,
        "stored_bytes": stored,
        "tokens": sum(part["input_ids"].numel() for part in keep),
    }


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def layer(threads: int, rows: int = 11008, columns: int = 4096) -> list[dict[str, Any]]:
    """One layer's start from given moments: ours (block Lanczos), a full eigh, and CorDA's decomposition."""
    from retain.linalg import eigenspace
    from retain.methods.sc_lora import relatives

    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(rows, columns, generator=generator) / columns**0.5
    scale = torch.arange(1, columns + 1).float().rsqrt()
    sets = [torch.randn(2 * columns, columns, generator=generator) * scale for _ in range(2)]
    plus, minus = ((x.T @ x).double() / len(x) for x in sets)
    contrast = 0.2 * plus - 0.8 * minus
    work: dict[str, Callable[[], Any]] = {
        "sc-lora": lambda: eigenspace.output_eigenspace(W, contrast, RANK),
        "eigh": lambda: eigenspace.output_eigenspace(W, contrast, RANK, dense_limit=columns),
        "corda": lambda: relatives.corda_kpm(W.double(), minus, RANK),
    }
    found = []
    for name, job in work.items():
        began = time.process_time()
        result = job()
        reward = float(result.values.sum()) if hasattr(result, "values") and name != "corda" else None
        found.append(
            {"case": f"layer {columns} → {rows}, {name}", "seconds": time.process_time() - began, "reward": reward}
        )
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """The cases side by side; ratios are to PEFT's CorDA."""
    by_name = {row["case"]: row for row in rows}
    lines = [
        "| case | CPU seconds | beyond the forward pass | memory beyond the model, MB | stored, MB |",
        "|---|---|---|---|---|",
    ]
    fronts = {"corda-peft": "forward-keep-one", "corda-retain": "forward-keep", "eva-peft": "forward-keep"}
    for name, row in by_name.items():
        front = by_name.get(fronts.get(name, "forward"), {}).get("seconds")
        beyond = "" if front is None or name.startswith("forward") else f"{row['seconds'] - front:.1f}"
        lines.append(
            f"| {name} | {row['seconds']:.1f} | {beyond} | {row['memory_bytes'] / 1e6:.0f} | "
            f"{row['stored_bytes'] / 1e6:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the cases asked for, each in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="case", help=f"of {', '.join(CASES)} (all)")
    parser.add_argument("--tokens", type=int, default=16384, help="of each set (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--layer", action="store_true", help="one large layer instead")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.only:
        print(json.dumps(measure(asked.only, asked.tokens, asked.threads)))
        return
    if asked.layer:
        rows = layer(asked.threads)
        print("\n".join(f"{row['case']}: {row['seconds']:.1f} s, reward {row['reward']}" for row in rows))
        _write("initialisation-layer", rows, asked.threads)
        return
    rows = []
    for name in asked.cases or CASES:
        command = [
            sys.executable,
            __file__,
            "--only",
            name,
            "--tokens",
            str(asked.tokens),
            "--threads",
            str(asked.threads),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": str(asked.threads)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603 -- this file
        if done.returncode:
            print(f"{name} failed: {done.stderr.strip().splitlines()[-1]}")
            continue
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(f"{name}: {rows[-1]['seconds']:.1f} s", flush=True)
    print(table(rows))
    _write("initialisation", rows, asked.threads)


def _write(name: str, rows: list[dict[str, Any]], threads: int) -> None:
    RESULTS.mkdir(exist_ok=True)
    machine = {"threads": threads, "python": platform.python_version(), "load": os.getloadavg()}
    versions = {package: version(package) for package in ("retain", "torch", "transformers", "peft")}
    text = json.dumps({"versions": versions, "machine": machine, "rows": rows}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
