"""The whole job: one fine-tune by stock TRL + PEFT and by retain; and "what did it cost?", asked of the same items.

    python benchmarks/job.py                               # SmolLM2-135M, 100 steps; writes results/job.json
    python benchmarks/job.py --harness FOLDER/bin/python   # asks lm-evaluation-harness of that environment, too

Both train a LoRA of the same rank on all linear layers with the same rows, batches, rate and schedule. TRL's defaults
stand but for gradient checkpointing and bfloat16, which it switches on and retain leaves to the user. The clock and
the memory are those of the training with what belongs to it (rows are tokenised, the adapter is put on and saved); the
model is loaded before. The question is put by `retain measure` (with its A/A check and its verdict), once more with the
base's predictions from its cache, and by lm-evaluation-harness, which asks base and tuned model in two calls; imports
count here for all. Beside it stands what no way can do without: base and tuned model read each question with its
options once. Each way has a process of its own, in turn.

First both must have trained the same tokens and parameters to the same loss, and who asks must find the same shares of
right answers. Tools that bring items of their own are compared in studies/related-tools.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch
from common import device, finish, markdown, memory, options, prepare

ROOT = Path(__file__).resolve().parents[1]
MIB = 2**20
TRL, RETAIN = "TRL + PEFT: SFTTrainer", "retain tune, its training"
MEASURE, CACHED, HARNESS = "retain measure", "retain measure, base from the cache", "lm-evaluation-harness, twice"
BARE = "bare forward passes over what is asked"
COLUMNS = {
    "what": "what", "way": "way", "s": "seconds", "CPU s": "cpu_seconds",
    "CPU s with imports": "cpu_with_start", "to the first": "ratio",
    "to the training": "to_training", "to bare passes": "to_bare", "tokens/s": "tokens_per_second",
    "peak beyond what was loaded, MiB": "peak_mib",
    "loss": "loss", "items": "items", "base right": "base", "tuned right": "tuned",
}  # fmt: skip
LOSS_APART, SHARES_APART = 0.05, 0.02
"""What may differ: the mean loss, for another start of A; shares, where two options are equally likely."""

Row = dict[str, Any]


class Meter:
    """Seconds, processor seconds and the most memory of what is done inside."""

    def __enter__(self) -> Self:
        """Begin."""
        if device().type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self._held = torch.cuda.memory_allocated()
        else:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self._held = memory("VmRSS")
        self._began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self.found: Row = {
            "seconds": time.perf_counter() - self._began[0],
            "cpu_seconds": time.process_time() - self._began[1],
        }
        most = torch.cuda.max_memory_allocated() if device().type == "cuda" else memory("VmHWM")
        self.found["peak_mib"] = max(most - self._held, 0) / MIB


def plain(row: Row) -> Row:
    """A row of prompt and completion as text; messages become those of the first question and answer."""
    if "messages" not in row:
        return {"prompt": row["prompt"], "completion": row["completion"]}
    said = {one["role"]: one["content"] for one in reversed(row["messages"])}
    return {"prompt": f"{said['user']}\n", "completion": said["assistant"]}


SCHEDULE: Row = {"lr_scheduler_type": "cosine", "warmup_steps": 3, "logging_steps": 1, "max_grad_norm": 1.0}
"""The Trainer's settings that both are given."""


def by_trl(asked: argparse.Namespace, folder: Path) -> Row:
    """Train by TRL's SFTTrainer and PEFT."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    prepare(asked.threads)
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text("utf-8").splitlines()]
    settings = SFTConfig(
        output_dir=str(folder / "trl"), max_steps=asked.steps, per_device_train_batch_size=asked.batch_size,
        learning_rate=asked.rate, max_length=asked.max_length, seed=0, bf16=False, gradient_checkpointing=False,
        save_strategy="no", report_to="none", disable_tqdm=True, use_cpu=device().type == "cpu", weight_decay=0.0,
        **SCHEDULE,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(
        asked.model, dtype=getattr(torch, asked.dtype), attn_implementation=asked.attention
    )
    adapter = LoraConfig(r=asked.rank, lora_alpha=2 * asked.rank, target_modules="all-linear", task_type="CAUSAL_LM")
    data, tokenizer = Dataset.from_list(rows), AutoTokenizer.from_pretrained(asked.model)
    with Meter() as meter:
        trainer = SFTTrainer(
            model=model, args=settings, train_dataset=data, peft_config=adapter, processing_class=tokenizer
        )
        trainer.train()
        trainer.save_model()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    trained = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    losses = [float(entry["loss"]) for entry in logged]
    return meter.found | {"tokens": int(logged[-1]["num_tokens"]), "trainable": trained, "losses": losses}


def by_retain(asked: argparse.Namespace, folder: Path) -> Row:
    """Train as `retain tune` does, and save the adapter."""
    from retain.events import SILENT
    from retain.hf.models.describe import model_hash
    from retain.jobs.adapt import train_or_load
    from retain.jobs.inputs.prepare import prepare as prepared
    from retain.jobs.run import Run
    from retain.recipe import Recipe

    prepare(asked.threads)
    recipe = Recipe(
        model=asked.model, train=str(folder / "train.jsonl"), keep=(asked.keep,), output=str(folder / "retain"),
        method={"name": "lora", "r": asked.rank, "lora_alpha": 2 * asked.rank}, learning_rate=asked.rate,
        max_steps=asked.steps, batch_size=asked.batch_size, max_length=asked.max_length, dtype=asked.dtype,
        attention=asked.attention, training=SCHEDULE, cache="off",
    )  # fmt: skip
    run = Run.of(recipe, prepared(recipe), SILENT)
    base = run.base()
    base_hash = model_hash(base)
    with Meter() as meter:
        _, trained = train_or_load(run, base, base_hash)
    cost, losses = trained.cost, [point.loss for point in trained.curve]
    return meter.found | {"tokens": cost.tokens, "trainable": trained.trainable, "losses": losses}


def asked_by_retain(asked: argparse.Namespace, folder: Path, cache: str, name: str) -> Row:
    """Put the items to both models by `retain measure`, loading included."""
    from retain.events import SILENT
    from retain.jobs.measure import measure_recipe
    from retain.recipe import MeasureRecipe

    prepare(asked.threads)
    recipe = MeasureRecipe(
        model=asked.model, tuned=str(folder / "retain" / "adapter"), keep=(asked.keep,), output=str(folder / name),
        dtype=asked.dtype, drift=False, cache=cache, evaluation_batch_size=32,
    )  # fmt: skip
    with Meter() as meter:
        [score] = measure_recipe(recipe, SILENT).keep
    return meter.found | {"items": score.n, "base": score.base, "tuned": score.tuned}


def read_once(asked: argparse.Namespace, folder: Path) -> Row:
    """Read each question and its options once by both models, in batches by length; neither loaded nor scored."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    prepare(asked.threads)
    tokenizer = AutoTokenizer.from_pretrained(asked.model)
    base = AutoModelForCausalLM.from_pretrained(
        asked.model, dtype=getattr(torch, asked.dtype), attn_implementation=asked.attention
    )
    model = PeftModel.from_pretrained(base, folder / "retain" / "adapter").eval()
    items = [json.loads(line) for line in Path(asked.keep).read_text("utf-8").splitlines() if line]
    options = [tokenizer("".join(f" {choice}" for choice in item["choices"]))["input_ids"] for item in items]
    questions = [tokenizer(item["question"])["input_ids"] for item in items]
    texts = sorted(zip(questions, options, strict=True), key=lambda text: len(text[0]) + len(text[1]))
    with Meter() as meter, torch.inference_mode():
        for start in range(0, len(texts), 32):
            batch = texts[start : start + 32]
            given = tokenizer.pad({"input_ids": [[*one, *more] for one, more in batch]}, return_tensors="pt")
            scored = max(len(more) for _, more in batch)
            model(**given.to(device()), logits_to_keep=scored)
            with model.disable_adapter():
                model(**given.to(device()), logits_to_keep=scored)
    return meter.found | {"items": len(items)}


def asked_by_harness(asked: argparse.Namespace, folder: Path) -> Row:
    """Put the items to both models by lm-evaluation-harness, each in a call of its own, loading included."""
    task = {
        "task": "items", "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "items.jsonl")}},
        "test_split": "test", "output_type": "multiple_choice", "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}", "doc_to_target": "{{answer}}", "target_delimiter": " ",
        "metric_list": [{"metric": "acc"}],
    }  # fmt: skip
    (folder / "items.yaml").write_text(json.dumps(task), encoding="utf-8")  # JSON is YAML
    keep = Path(asked.keep).read_text("utf-8").splitlines()
    rows = [{key: json.loads(line)[key] for key in ("question", "choices", "answer")} for line in keep if line]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    model = f"pretrained={Path(asked.model).absolute()},dtype={asked.dtype}"
    shares, used = [], cpu_of_children()
    for side, more in (("base", ""), ("tuned", f",peft={folder / 'retain' / 'adapter'}")):
        output = folder / f"harness-{side}"
        command = [
            asked.harness, "-m", "lm_eval", "run", "--model", "hf", "--model_args", model + more, "--tasks", "items",
            "--include_path", str(folder), "--batch_size", "32", "--device", device().type,
            "--output_path", str(output),
        ]  # fmt: skip
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": "", "HF_DATASETS_CACHE": str(folder / "hf")}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)  # noqa: S603 -- the user's own
        [found] = output.rglob("results_*.json")
        shares.append(json.loads(found.read_text("utf-8"))["results"]["items"]["acc,none"])
    return {"cpu_with_start": cpu_of_children() - used, "items": len(rows), "base": shares[0], "tuned": shares[1]}


def alone(way: Callable[..., Row], *given: Any, here: bool) -> Row:
    """What a way finds, in a process of its own."""
    if here:
        found = way(*given)
        return found | {"cpu_with_start": found["cpu_seconds"]}
    used = cpu_of_children()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(way, given)
        pool.close()
        pool.join()
    return found | {"cpu_with_start": cpu_of_children() - used}


def cpu_of_children() -> float:
    """Processor seconds of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def training_gate(trl: Row, own: Row) -> list[Row]:
    """The two trained the same."""
    mean = [sum(one["losses"]) / len(one["losses"]) for one in (trl, own)]
    apart = abs(mean[1] / mean[0] - 1)
    return [
        {"check": name, "difference": own[key] - trl[key], "passed": own[key] == trl[key]}
        for name, key in (("tokens trained", "tokens"), ("parameters trained", "trainable"))
    ] + [{"check": "mean loss of all steps", "difference": apart, "passed": apart <= LOSS_APART}]


def asking_gate(rows: list[Row]) -> list[Row]:
    """All who asked found the same."""
    first, found = rows[0], []
    for row in rows[1:]:
        apart = max(abs(row[side] - first[side]) for side in ("base", "tuned"))
        same = row["items"] == first["items"] and apart <= SHARES_APART
        found.append({"check": f"{row['way']}: shares of right answers", "difference": apart, "passed": same})
    return found


def jobs(asked: argparse.Namespace, folder: Path) -> tuple[list[Row], list[Row], dict[str, str]]:
    """All ways in turn: the rows, the checks, and what was left out."""
    source = Path(asked.train).read_text("utf-8").splitlines()
    rows = [json.dumps(plain(json.loads(line))) for line in source if line]
    (folder / "train.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    trl, own = (
        {"what": "training", "way": name, **alone(way, asked, folder, here=asked.here)}
        for name, way in ((TRL, by_trl), (RETAIN, by_retain))
    )
    for row in (trl, own):
        row |= {"tokens_per_second": row["tokens"] / row["seconds"], "loss": row["losses"][-1]}
        row["ratio"] = row["cpu_seconds"] / trl["cpu_seconds"]
    cache = str(folder / "cache")
    asking = [
        {"what": "question", "way": name, **alone(asked_by_retain, asked, folder, cache, label, here=asked.here)}
        for name, label in ((MEASURE, "measured"), (CACHED, "measured-again"))
    ]
    bare = {"what": "question", "way": BARE, **alone(read_once, asked, folder, here=asked.here)}
    left_out = {}
    if asked.harness:
        asking.append({"what": "question", "way": HARNESS, **asked_by_harness(asked, folder)})
    else:
        left_out[HARNESS] = "no --harness was given"
    for row in asking:
        row["ratio"] = row["cpu_with_start"] / asking[0]["cpu_with_start"]
    for row in (*asking, bare):
        if "cpu_seconds" in row:
            row["to_training"] = row["cpu_seconds"] / own["cpu_seconds"]
            row["to_bare"] = row["cpu_seconds"] / bare["cpu_seconds"]
    return [trl, own, *asking, bare], training_gate(trl, own) + asking_gate(asking), left_out


def _assets_rows() -> str:
    """The demo's rows, or those of the benchmark's tickets where only these are there."""
    places = [ROOT / ".assets" / name / "train.jsonl" for name in ("support", "tickets")]
    return str(next((place for place in places if place.is_file()), places[0]))


def main(arguments: list[str] | None = None) -> None:
    """Do all, check, write."""
    parser = options(str(__doc__), rounds=1)
    parser.add_argument("--model", default=str(ROOT / ".assets" / "smollm2-135m-instruct"))
    parser.add_argument(
        "--train", default=str(ROOT / ".assets" / "tickets" / "train.jsonl"), help="JSONL of either form"
    )
    parser.add_argument("--keep", default=str(ROOT / ".assets" / "facts" / "choices.jsonl"), help="JSONL of choices")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--max-length", type=int, default=192)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--attention", default="sdpa")
    parser.add_argument("--harness", default="", help="the interpreter of an environment that has lm-eval")
    parser.add_argument("--here", action="store_true", help="all in this process: does it work? Memory means nothing")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        rows, checks, left_out = jobs(asked, Path(folder))
    print(markdown(rows, COLUMNS))
    content = {"gate": checks, "left_out": left_out, "columns": COLUMNS, "rows": rows}
    finish("job", asked, content, passed=all(check["passed"] for check in checks))


if __name__ == "__main__":
    main()
