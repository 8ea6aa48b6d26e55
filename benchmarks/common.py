"""What the benchmarks share: options, the clock, the bytes kept for the backward pass, the machine, the files written.

Time is CPU time of this process, one thread by default, so that other work on the machine counts little. On a GPU it is
the time between two CUDA events.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from retain.hf.models.precision import processor_imitates

RESULTS = Path(__file__).with_name("results")
PACKAGES = ("retain", "torch", "transformers", "peft")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}

Row = dict[str, Any]
Name = TypeVar("Name", str, tuple[str, str])
"""Of a job."""
Times = TypeVar("Times")
"""What a job gives."""


DEVICE = "RETAIN_BENCHMARK_DEVICE"
"""The environment's word for the device, cuda or cpu, where it is not to be the GPU if there is one."""


def device() -> torch.device:
    """The GPU if there is one, or what the environment says; processes that a benchmark starts have the same."""
    return torch.device(os.environ.get(DEVICE) or ("cuda" if torch.cuda.is_available() else "cpu"))


def worth_timing() -> list[str]:
    """The precisions that this machine computes in; a processor that imitates bfloat16 takes up to 90 times as long."""
    imitated = device().type == "cpu" and processor_imitates(torch.bfloat16)
    return ["float32"] if imitated else ["float32", "bfloat16"]


def options(doc: str, rounds: int) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="counted rounds after one that is not (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--bases", nargs="+", choices=("float32", "bfloat16"), default=worth_timing(),
                        help="default: float32, and bfloat16 where there are units for it")  # fmt: skip
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to write to")
    return parser


def prepare(threads: int) -> None:
    """Set the number of threads and keep quiet about what the cases do on purpose."""
    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")


def timed(job: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a job takes, and what it gives: CPU seconds of this process, or seconds of the GPU."""
    if device().type == "cuda":
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]  # torch's
        first.record()
        result = job()
        last.record()
        torch.cuda.synchronize()
        return first.elapsed_time(last) / 1000, result
    began = time.process_time()
    result = job()
    return time.process_time() - began, result


def in_turn(jobs: Mapping[Name, Callable[[], Times]], rounds: int) -> dict[Name, list[Times]]:
    """What each job gives in each round; every round has all jobs, each time beginning with another.

    Args:
        jobs: each gives its own seconds, as a number or a tuple of numbers.
        rounds: how many are kept; one before them is not.
    """
    names = list(jobs)
    found: dict[Name, list[Times]] = {name: [] for name in names}
    for number in range(rounds + 1):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            got = jobs[name]()
            if number:
                found[name].append(got)
    return found


def ratios(above: Sequence[float], below: Sequence[float]) -> tuple[float, float]:
    """The median of the ratios of each round, and the ratio of the least times, which a busy machine disturbs least."""
    each = [one / other for one, other in zip(above, below, strict=True)]
    return statistics.median(each), min(above) / min(below)


def saved_storages(forward: Callable[[], Any], model: nn.Module) -> dict[int, int]:
    """The distinct storages that autograd keeps for the backward pass: address to bytes, parameters left out.

    Read off the graph, not counted by hooks: where hooks handle saved tensors, retain keeps its inputs as they are.
    What a function keeps elsewhere than by `save_for_backward` is not seen, nor what checkpointing computes again.
    """
    owned = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
    result = forward()
    found: dict[int, int] = {}
    stack, seen = [result.grad_fn], set()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        stack += [following for following, _ in node.next_functions]
        for tensor in _kept_by(node):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in owned:
                found[storage.data_ptr()] = storage.nbytes()
    return found


def _kept_by(node: Any) -> list[Tensor]:
    """The tensors that one operation keeps."""
    kept = list(getattr(node, "saved_tensors", ()))
    for name in dir(node):
        if name.startswith("_saved_"):
            value = getattr(node, name)
            kept += list(value) if isinstance(value, tuple | list) else [value]
    return [tensor for tensor in kept if isinstance(tensor, Tensor)]


def away_from_start(model: nn.Module, spread: float = 0.02, seed: int = 0) -> nn.Module:
    """Move what is trained a little, as after some training; at most starts an adapter does nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * spread
                parameter.add_(noise.to(parameter))
    return model


def trainable(model: nn.Module) -> int:
    """The number of trained parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def memory(field: str) -> int:
    """A size of this process in bytes, as Linux tells it: VmRSS (now) or VmHWM (the most so far)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def machine(threads: int) -> Row:
    """What a figure depends on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    capability = torch.backends.cpu.get_cpu_capability()
    return {
        "versions": {package: version(package) for package in PACKAGES} | {"python": platform.python_version()},
        "threads": threads,
        "cores": os.cpu_count(),
        "cpu": f"{model} ({capability})",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load": list(os.getloadavg()),
    }


def _named(value: Any) -> Any:
    """A setting as it is told: of a path the end, since the machine's folders tell nobody anything."""
    is_path = isinstance(value, str | Path) and Path(value).is_absolute()
    return "/".join(Path(value).parts[-2:]) if is_path else value


def finish(name: str, asked: argparse.Namespace, content: Row, *, passed: bool) -> None:
    """Write a benchmark's JSON; end the program with an error where its results are not right.

    Args:
        name: of the benchmark and of its file.
        asked: the options.
        content: `gate` (what was checked), `rows`, and whatever else is to be kept.
        passed: whether all that the gate checked was right.

    Raises:
        SystemExit: the gate was not passed; how fast a wrong result comes is of no matter.
    """
    settings = {key: _named(value) for key, value in vars(asked).items() if key != "results"}
    asked.results.mkdir(parents=True, exist_ok=True)
    record = {"benchmark": name, "passed": passed, "machine": machine(asked.threads), "settings": settings, **content}
    text = json.dumps(record, indent=1, default=str)
    (asked.results / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    if not passed:
        print(json.dumps(content["gate"], indent=1))
        raise SystemExit(f"{name}: the correctness gate is not passed; see above for what differs. No figure counts.")


def cell(value: Any) -> str:
    """A value as it stands in a table."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


def markdown(rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    """Rows as a Markdown table.

    Args:
        rows: values by key.
        columns: heading to key, in their order.
    """
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(cell(row.get(key)) for key in columns.values())} |" for row in rows]
    return "\n".join(lines)
