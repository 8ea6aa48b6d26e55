"""What it takes to start SC-LoRA, beside PEFT's CorDA and EVA, on the same tokens of the same model.

    python benchmarks/initialisation.py                          # all, one process each: 10 minutes, up to 5 for EVA
    python benchmarks/initialisation.py --cases SC-LoRA "CorDA (PEFT)"
    python benchmarks/initialisation.py --layer                  # one layer 4096 → 11008, its statistics given

    python benchmarks/initialisation.py --block                  # one block of a 7B Llama, times 32
    python benchmarks/initialisation.py --blocks 3               # a model cut to its first blocks, on a busy machine

Each case does its work once on a tiny model, so that imports count for nothing, loads SmolLM2-135M (`make assets`),
notes the memory held, then does its work. Time is CPU time; memory the most held beyond the loaded model; stored, what
must be kept to begin again without the data. All read the same tokens:
half of them are SC-LoRA's text to learn, half its text to keep; all of them are CorDA's text to keep, the only one it
has. CorDA takes one sequence at a time, because batches make it fail, so it has a forward pass of its own. EVA goes
over its text until directions settle, and is stopped after `--patience` seconds. What a start takes beyond its forward
pass is parted into sums (second moments), solving (factors from them), and the rest (adapters attached, hashes, hooks).
Before, a start must leave the model as it was, and SC-LoRA's, solved while the texts are read, must be worth as much as
that from statistics kept on disk.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import bases
import torch
from common import RESULTS, device, finish, markdown, memory, prepare, timed
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / ".assets" / "smollm2-135m-instruct"
NAMES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
BATCH = 16
TINY = "tiny"
SC_LORA, STORED, CORDA = "SC-LoRA", "SC-LoRA, statistics kept", "CorDA (PEFT)"
FORWARD, FORWARD_ONE = "forward pass", "forward pass, one sequence at a time"
COLUMNS = {
    "case": "case", "tokens": "tokens", "CPU seconds": "seconds", "beyond the forward pass, s": "beyond",
    "sums, s": "sums", "solving, s": "solving", "rest, s": "rest",
    "memory beyond the model, MB": "memory_mb", "stored, MB": "stored_mb", "time / CorDA": "ratio",
    "beyond / CorDA": "beyond_ratio", "memory / CorDA": "memory_ratio", "": "note",
}  # fmt: skip
NEAR = 1e-3
"""How far apart the rewards of the same subspaces may be, relatively, by two ways of summing in float32."""

Batches = list[dict[str, Tensor]]


def read(model: str, tokens: int, batch: int) -> tuple[Batches, Batches]:
    """Sequences of 128 tokens (8 of the tiny model), without padding, to learn and to keep, in batches."""
    length = 8 if model == TINY else 128
    found = []
    for number, name in enumerate(("headlines/train.jsonl", "reference.txt")):
        if model == TINY:
            ids = torch.randint(2, 60, (tokens,), generator=torch.Generator().manual_seed(number))
        else:
            from transformers import AutoTokenizer

            text = (ROOT / ".assets" / name).read_text(encoding="utf-8")
            ids = torch.tensor(AutoTokenizer.from_pretrained(model).encode(text)[:tokens])
        rows = ids[: len(ids) // length * length].view(-1, length)
        found.append(
            [{"input_ids": part, "attention_mask": torch.ones_like(part)} for part in torch.split(rows, batch)]
        )
    return found[0], found[1]


def load(model: str, blocks: int | None = None) -> Any:
    """The model in float32, or its first blocks."""
    if model == TINY:
        return bases.make("llama", 64, 2, torch.float32).eval()
    from transformers import AutoModelForCausalLM

    found = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    found.model.layers = found.model.layers[:blocks]
    return found


def forward(model: Any, learn: Batches, keep: Batches, _rank: int) -> dict[str, Any]:
    """Both texts through the model without its head, and nothing else."""
    with torch.no_grad():
        for batch in (*learn, *keep):
            model.model(**batch, use_cache=False)
    return {}


def worth(adapted: Any) -> float:
    """The rewards of all layers, as the start's own note has them."""
    with tempfile.TemporaryDirectory() as folder:
        adapted.save_pretrained(folder)
        note = json.loads((Path(folder) / "retain_initialisation.json").read_text(encoding="utf-8"))
    return float(sum(row["reward"] for row in note["layers"]))


def sc_lora_start(model: Any, learn: Batches, keep: Batches, rank: int) -> dict[str, Any]:
    """SC-LoRA from both texts."""
    from retain import SCLoRAConfig, sc_lora

    return {"adapted": sc_lora(model, SCLoRAConfig(r=rank, beta=0.8), learn=learn, keep=keep)}


def sc_lora_stored(model: Any, learn: Batches, keep: Batches, rank: int) -> dict[str, Any]:
    """SC-LoRA with its statistics kept on disk, from which any β, rank and seed can be started."""
    from retain import SCLoRAConfig, sc_lora
    from retain.activations import collect

    with tempfile.TemporaryDirectory() as folder:
        learned, kept = (
            collect(model, data, folder=Path(folder) / name, memory_limit=10**9)
            for name, data in (("learn", learn), ("keep", keep))
        )
        adapted = sc_lora(model, SCLoRAConfig(r=rank, beta=0.8), learn=learned, keep=kept)
        stored = sum(file.stat().st_size for file in Path(folder).rglob("*.*"))
    return {"adapted": adapted, "stored_bytes": stored}


def corda_ours(model: Any, learn: Batches, keep: Batches, rank: int) -> dict[str, Any]:
    """CorDA's knowledge-preserved start by retain: the same product B0 A0 as its paper's, the base untouched."""
    from retain import SCLoRAConfig, sc_lora

    return {"adapted": sc_lora(model, SCLoRAConfig(r=rank, initialisation="corda-kpm"), keep=[*learn, *keep])}


def corda_peft(model: Any, learn: Batches, keep: Batches, rank: int) -> dict[str, Any]:
    """PEFT's CorDA as its manual has it: one sequence at a time, float32 moments."""
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora.config import CordaConfig
    from peft.tuners.lora.corda import preprocess_corda

    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache" / "eigens.pt"
        config = LoraConfig(
            init_lora_weights="corda",
            target_modules=NAMES,
            r=rank,
            lora_alpha=rank,
            corda_config=CordaConfig(corda_method="kpm", cache_file=str(cache)),
        )

        def run() -> None:
            with torch.no_grad():
                for batch in (*learn, *keep):
                    model(**batch, use_cache=False)

        preprocess_corda(model, config, run_model=run)
        return {"adapted": get_peft_model(model, config), "stored_bytes": cache.stat().st_size}


def eva_peft(model: Any, learn: Batches, keep: Batches, rank: int) -> dict[str, Any]:
    """PEFT's EVA on all of the text."""
    from peft import EvaConfig, LoraConfig, get_peft_model, initialize_lora_eva_weights

    config = LoraConfig(
        init_lora_weights="eva", target_modules=NAMES, r=rank, lora_alpha=rank, eva_config=EvaConfig(rho=1.0)
    )
    adapted = get_peft_model(model, config, low_cpu_mem_usage=True)
    initialize_lora_eva_weights(adapted, [*learn, *keep])
    return {"adapted": adapted}


CASES: dict[str, tuple[Callable[..., dict[str, Any]], int, str | None]] = {
    FORWARD: (forward, BATCH, None),
    FORWARD_ONE: (forward, 1, None),
    SC_LORA: (sc_lora_start, BATCH, FORWARD),
    STORED: (sc_lora_stored, BATCH, FORWARD),
    "CorDA (retain)": (corda_ours, BATCH, FORWARD),
    CORDA: (corda_peft, 1, FORWARD_ONE),
    "EVA (PEFT)": (eva_peft, BATCH, FORWARD),
}
"""The work, the sequences in a batch, and the forward pass that is in it."""


def set_up(work: Callable[..., dict[str, Any]], batch: int) -> None:
    """Do the work once on a tiny model: what is imported and set up once belongs to no start."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        work(load(TINY), *read(TINY, 64, batch), 4)


@contextlib.contextmanager
def clocked() -> Iterator[dict[str, float]]:
    """CPU seconds inside the functions that sum and that solve; CorDA's reading is its forward pass and its sums."""
    from peft.tuners.lora import corda

    from retain.activations import moments
    from retain.methods.initialisations.solving import Solving

    spent: dict[str, float] = {}
    clocks = [
        (moments, "update", "sums"), (Solving, "_solve", "solving"),
        (corda, "calib_cov_distribution", "reading"), (corda, "collect_eigens", "solving"),
    ]  # fmt: skip
    with contextlib.ExitStack() as undo:
        for owner, name, part in clocks:
            undo.enter_context(mock.patch.object(owner, name, _adding(getattr(owner, name), spent, part)))
        yield spent


def _adding(work: Callable[..., Any], spent: dict[str, float], part: str) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        began = time.process_time()
        try:
            return work(*args, **kwargs)
        finally:
            spent[part] = spent.get(part, 0.0) + time.process_time() - began

    return run


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """One case, in this process."""
    prepare(asked.threads)
    work, batch, _ = CASES[asked.only]
    learn, keep = read(asked.model, asked.tokens, batch)
    model = load(asked.model, asked.blocks)
    set_up(work, batch)
    forward(model, learn[:1], [], 0)
    probe = learn[0]["input_ids"][:1]
    with torch.no_grad():
        expected = model(input_ids=probe, use_cache=False).logits
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    began = time.perf_counter()
    with clocked() as spent:
        seconds, made = timed(lambda: work(model, learn, keep, asked.rank))
    row = {
        "case": asked.only,
        "tokens": sum(part["input_ids"].numel() for part in (*learn, *keep)),
        "seconds": seconds,
        "wall_seconds": time.perf_counter() - began,
        "memory_mb": (memory("VmHWM") - before) / 1e6,
        "stored_mb": made["stored_bytes"] / 1e6 if "stored_bytes" in made else None,
    } | spent
    if "adapted" in made:
        with torch.no_grad():
            found = made["adapted"](input_ids=probe, use_cache=False).logits
        row["moved"] = float((found - expected).norm() / expected.norm())
        row["worth"] = worth(made["adapted"]) if asked.only in (SC_LORA, STORED) else None
    return row


def attempt(name: str, asked: argparse.Namespace) -> dict[str, Any]:
    """One case's row."""
    if asked.here:
        return measure(argparse.Namespace(**{**vars(asked), "only": name}))
    return in_a_process(name, asked)


def in_a_process(name: str, asked: argparse.Namespace) -> dict[str, Any]:
    """One case in a fresh process; where it takes longer than there is patience for, or fails, a row that says so."""
    words = ["--only", name, "--tokens", asked.tokens, "--threads", asked.threads, "--rank", asked.rank]
    words += ["--blocks", asked.blocks] if asked.blocks else []
    command = [sys.executable, __file__, *map(str, words), "--model", str(asked.model)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(asked.threads)}
    try:
        done = subprocess.run(  # noqa: S603 -- this file
            command, capture_output=True, text=True, check=False, env=environment, timeout=asked.patience
        )
    except subprocess.TimeoutExpired:
        return {"case": name, "note": f"stopped after {asked.patience} s"}
    if done.returncode:
        return {"case": name, "note": f"failed: {done.stderr.strip().splitlines()[-1]}"}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compared(rows: list[dict[str, Any]]) -> None:
    """Add to each row what it takes beyond its forward pass, and the ratios to PEFT's CorDA."""
    by_name = {row["case"]: row for row in rows}
    for row in rows:
        front = by_name.get(CASES[row["case"]][2] or "", {}).get("seconds")
        if front is not None and "seconds" in row:
            row["beyond"] = row["seconds"] - front
            if "reading" in row:
                row["sums"] = row.pop("reading") - front
            if "sums" in row and "solving" in row:
                row["rest"] = row["beyond"] - row["sums"] - row["solving"]
    corda = by_name.get(CORDA, {})
    for row in rows:
        for key, ratio in (("seconds", "ratio"), ("beyond", "beyond_ratio"), ("memory_mb", "memory_ratio")):
            if key in row and corda.get(key):
                row[ratio] = row[key] / corda[key]


def gate(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """No start moves the model, and both ways to SC-LoRA's are worth the same."""
    found = [
        {"check": f"{row['case']}: the model is as before", "difference": row["moved"], "passed": row["moved"] < NEAR}
        for row in rows
        if "moved" in row
    ]
    worths = [row["worth"] for row in rows if row.get("worth") is not None]
    if len(worths) == 2:
        apart = abs(worths[0] - worths[1]) / abs(worths[1])
        found.append({"check": "SC-LoRA: both ways are worth the same", "difference": apart, "passed": apart < NEAR})
    return found


def layer(asked: argparse.Namespace, rows: int = 11008, columns: int = 4096) -> list[dict[str, Any]]:
    """One layer's start from given moments: ours (block Lanczos), a full eigh, and CorDA's decomposition in float32."""
    from peft.tuners.lora.corda import collect_eigens_for_layer

    from retain.linalg.eigenspace import output_eigenspace

    prepare(asked.threads)
    generator = torch.Generator().manual_seed(0)
    linear = torch.nn.Linear(columns, rows, bias=False)
    W = torch.randn(rows, columns, generator=generator) / columns**0.5
    linear.weight.data = W
    scale = torch.arange(1, columns + 1).float().rsqrt()
    sets = [torch.randn(2 * columns, columns, generator=generator) * scale for _ in range(2)]
    plus, minus = ((x.T @ x).double() / len(x) for x in sets)
    contrast = 0.2 * plus - 0.8 * minus
    linear.covariance_matrix = minus.float()
    work: dict[str, Callable[[], Any]] = {
        "SC-LoRA": lambda: output_eigenspace(W, contrast, asked.rank),
        "SC-LoRA by a full eigh": lambda: output_eigenspace(W, contrast, asked.rank, dense_limit=columns),
        CORDA: lambda: collect_eigens_for_layer(linear, None),
    }
    found: list[dict[str, Any]] = []
    for name, job in work.items():
        seconds, result = timed(job)
        found.append({"case": name, "seconds": seconds})
        if hasattr(result, "values") and hasattr(result, "residual"):
            found[-1]["worth"] = float(result.values.sum())
        print(f"{name}: {seconds:.1f} s", flush=True)
    for row in found:
        row["ratio"] = row["seconds"] / found[-1]["seconds"]
    return found


def block(asked: argparse.Namespace, hidden: int = 4096, blocks: int = 32, vocabulary: int = 32000) -> list[Any]:
    """One block of a Llama of this width (4096: 7B), drawn at random, over as many tokens of both texts as asked for.

    Time grows with the number of blocks. Memory does not: sums are handed over a block at a time. Numbers fall off over
    the features as 1/√i, as in `layer`. On a GPU, where `--built 32` is a matter of seconds, in bfloat16.
    """
    prepare(asked.threads)
    set_up(sc_lora_start, 1)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=hidden, intermediate_size=hidden * 43 // 16, num_hidden_layers=asked.built,
        num_attention_heads=hidden // 64, tie_word_embeddings=True,
    )  # fmt: skip
    with device():
        model = LlamaForCausalLM(config).eval().to(torch.bfloat16 if device().type == "cuda" else torch.float32)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(torch.arange(1, hidden + 1, device=device()).float().rsqrt())
    ids = torch.randint(0, vocabulary, (2, asked.tokens), generator=torch.Generator().manual_seed(1)).to(device())
    length = min(512, asked.tokens)
    learn, keep = ([{"input_ids": one.view(1, -1)} for one in part.split(length)] for part in ids)
    forward(model, learn[:1], [], 0)
    found = []
    for name, work in ((FORWARD, forward), (SC_LORA, sc_lora_start)):
        with most_held() as held:
            began = time.perf_counter()
            seconds, _ = timed(partial(work, model, learn, keep, asked.rank))
            wall = time.perf_counter() - began
        found.append({
            "case": name, "tokens": ids.numel(), "built": asked.built, "seconds": seconds,
            "all": blocks / asked.built * seconds, "wall_seconds": wall, "memory_mb": held[0] / 1e6,
        })  # fmt: skip
        print(f"{name}: {seconds:.1f} s", flush=True)
    return found


@contextlib.contextmanager
def most_held() -> Iterator[list[int]]:
    """The most bytes held meanwhile beyond those before, of the GPU or of this process; known at the end."""
    held: list[int] = []
    if device().type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        yield held
        held.append(torch.cuda.max_memory_allocated() - before)
        return
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    yield held
    held.append(memory("VmHWM") - before)


def options() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE", help="which")
    parser.add_argument("--model", default=str(MODEL), help="its folder, or 'tiny' (default: SmolLM2-135M's)")
    parser.add_argument("--tokens", type=int, default=4096, help="of each text (default: %(default)s)")
    parser.add_argument("--rank", type=int, default=32, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--patience", type=int, default=300, help="seconds that one case may take (%(default)s)")
    parser.add_argument("--here", action="store_true", help="all in this process: memory then means nothing")
    parser.add_argument("--layer", action="store_true", help="one large layer instead")
    parser.add_argument("--block", action="store_true", help="one block of a 7B Llama instead")
    parser.add_argument("--blocks", type=int, help="of the model, from the first (default: all)")
    parser.add_argument("--built", type=int, default=1, help="blocks that --block builds; the others are reckoned")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to write to")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Run the cases asked for, each in a fresh process."""
    asked = options().parse_args(arguments)
    if asked.model != TINY and not asked.layer and not asked.block and not Path(asked.model).is_dir():
        raise SystemExit(f"{asked.model}: no model there; `make assets` puts SmolLM2-135M into its place.")
    if asked.only:
        print(json.dumps(measure(asked)))
        return
    if asked.layer:
        rows = layer(asked)
        columns = {"case": "case", "CPU seconds": "seconds", "reward": "worth", "time / CorDA": "ratio"}
        print(markdown(rows, columns))
        finish("initialisation-layer", asked, {"gate": [], "columns": columns, "rows": rows}, passed=True)
        return
    if asked.block:
        rows = block(asked)
        columns = {
            "case": "case", "tokens": "tokens", "blocks": "built", "seconds": "seconds", "32 blocks": "all",
            "memory beyond the model, MB": "memory_mb",
        }  # fmt: skip
        print(markdown(rows, columns))
        finish("initialisation-block", asked, {"gate": [], "columns": columns, "rows": rows}, passed=True)
        return
    rows = []
    for name in asked.cases:
        rows.append(attempt(name, asked))
        print(f"{name}: {rows[-1].get('note') or format(rows[-1]['seconds'], '.1f') + ' s'}", flush=True)
    compared(rows)
    checks = gate(rows)
    print(markdown(rows, COLUMNS))
    passed = all(check["passed"] for check in checks)
    asked.model = Path(asked.model).name
    finish("initialisation", asked, {"gate": checks, "columns": COLUMNS, "rows": rows}, passed=passed)


if __name__ == "__main__":
    main()
