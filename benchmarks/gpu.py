r"""On a GPU in one go of minutes: are the fused forms right there, and what do adapters cost?

    benchmarks/gpu.sh                                 # on the GPU; writes results/gpu.json and results/gpu.md
    benchmarks/gpu.sh --minutes 3.2 --rounds 5 --adapters 16 --modes 'as it is' autocast checkpointing \
        --compiled-models frozen VeFA                 # in 200 seconds, with what takes longest left to tests/gpu
    benchmarks/gpu.sh --device cpu --tiny             # the same steps without a GPU, at sizes that mean nothing

First each of our adapters against its reference form: one layer and a small Llama, in float32 and bfloat16, under
autocast, with gradient checkpointing, compiled. A case that fails a check is not timed, and the program ends with an
error. Then the ratios to the frozen layer or model, the cases in turn, with CUDA events: compiled by torch.compile
first, then as they are; and the most memory that a step takes beyond what was held before it. Last, mixed batches.
What the minutes do not suffice for is listed as left out; what was found until then is written after every part.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import bases
import layer
import model
import serving
import torch
from cases import CASES, FROZEN, LORA, LORA_FAST, LORFA, OURS, ROTATION, TOLERANCE, VEFA, difference, make_all, passed
from common import DEVICE, DTYPES, finish, in_turn, markdown, options, prepare, ratios
from torch import Tensor

import retain.kernels

MIB = 2**20
TINY = {
    "tokens": 16, "width": 64, "hidden": 64, "layers": 1, "rows": 2, "length": 8, "adapters": 2, "rounds": 1,
    "compiled_models": [FROZEN], "backend": "eager",
}  # fmt: skip
CHECKED = (*OURS, ROTATION)
COMPILED_WHOLE = (VEFA, LORFA)
"""Of which whole models are compiled for a check, too; each takes half a minute."""
COMPILED, EAGER, LLAMA = "compiled", "as it is", "Llama"
MODES = (EAGER, "autocast", "checkpointing", COMPILED)
FOR_FIGURES = 0.5
"""Share of the minutes that is kept for figures; checks that come later are left out."""
COLUMNS = {
    "of": "of", "base": "base", "case": "case", "form": "form", "time / frozen": "ratio",
    "of the least": "ratio_least", "to the frozen as it is": "ratio_eager", "ms": "milliseconds",
    "tokens/s": "tokens_per_second", "peak beyond what was held, MiB": "peak_mib",
}  # fmt: skip

Check = dict[str, Any]
Row = dict[str, Any]
Run = Callable[[Any], dict[str, Tensor]]


class Minutes:
    """What is left of the time that the whole may take.

    Args:
        minutes: from now on.
    """

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes
        self.left_out: dict[str, str] = {}

    def suffice(self, for_what: str, seconds: float = 0.0) -> bool:
        """True if so many seconds are left; what is not done is noted."""
        left = self._end - time.monotonic()
        if left > seconds:
            return True
        self.left_out[for_what] = f"{left:.0f} s were left, and it needs some {seconds:.0f}"
        return False


def told_device(name: str) -> str:
    """The device in words, for the first line; the benchmarks' `device()` gives it from here on.

    Raises:
        SystemExit: no GPU is there.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            f"No GPU: torch {torch.__version__} finds none. Give --device cpu to try the script without one; "
            "its figures then say nothing of a GPU."
        )
    os.environ[DEVICE] = name
    triton = "with Triton" if find_spec("triton") else "without Triton"
    if name == "cuda":
        made = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, bfloat16 {torch.cuda.is_bf16_supported()}"
        return f"Device: {made}, torch {torch.__version__} {triton}."
    return f"Device: CPU, torch {torch.__version__}, {triton}. NO GPU: no figure below says anything of one."


# Checks.


@contextlib.contextmanager
def surroundings(mode: str) -> Iterator[None]:
    """Autocast where the mode says so; nothing else."""
    with contextlib.ExitStack() as held:
        if mode == "autocast":
            held.enter_context(torch.autocast(os.environ[DEVICE], torch.bfloat16))
        yield


def tolerance(dtype: torch.dtype, mode: str) -> float:
    """The largest relative difference: of 16 bits where autocast computes in them."""
    return TOLERANCE[torch.bfloat16 if mode == "autocast" else dtype]


def checked(name: str, adapted: Any, run: Run, mode: str, limit: float, backend: str) -> Check:
    """One adapter as it computes, beside its reference form in ordinary operations, not compiled."""

    def measured() -> tuple[float, float]:
        with surroundings(mode):
            found = run(torch.compile(adapted, backend=backend) if mode == COMPILED else adapted)
            with retain.kernels.reference_only():
                expected = run(adapted)
        return difference(_plain(found), expected), limit

    return _told_by(name, measured)


def checked_in_float32(name: str, adapted: Any, run: Run) -> Check:
    """One adapter in 16 bits beside its reference form in float32.

    It may be half as far from that again as the reference form in 16 bits is, whose rounding adds up over the layers.
    """

    def measured() -> tuple[float, float]:
        found = run(adapted)
        with retain.kernels.reference_only():
            rounded, right = run(adapted), run(copy.deepcopy(adapted).float())
        return difference(found, right), 1.5 * difference(rounded, right)

    return _told_by(name, measured)


def _told_by(name: str, measured: Callable[[], tuple[float, float]]) -> Check:
    """A check of a difference and its limit; an error fails it."""
    check: Check = {"check": name}
    try:
        apart, limit = measured()
    except Exception as error:  # noqa: BLE001 -- the other checks are worth the time on a GPU all the same
        return check | {"difference": None, "passed": False, "error": f"{type(error).__name__}: {str(error)[:300]}"}
    return check | {"difference": apart, "limit": limit, "passed": apart <= limit < math.inf}


def _plain(found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix("_orig_mod."): value for key, value in found.items()}


def checks(asked: argparse.Namespace, minutes: Minutes) -> Iterator[Check]:
    """Each of our adapters in every mode: on a layer in each precision, and in a small Llama."""
    for mode in asked.modes:
        for dtype_name in asked.bases:
            if mode == "autocast" and dtype_name != "float32":
                continue
            dtype = DTYPES[dtype_name]
            for what, frozen, run in _subjects(asked, dtype, mode):
                label = f"{what}, {dtype_name}, {mode}"
                if not minutes.suffice(f"checks: {label}", 5 + 60 * FOR_FIGURES * asked.minutes):
                    continue
                whole = mode == COMPILED and what == LLAMA
                chosen = tuple(name for name in COMPILED_WHOLE if name in asked.compiled_models)
                adapted, left_out = make_all(frozen, asked.rank, chosen if whole else CHECKED)
                yield from ({"check": f"{label}: {case}", "skipped": why} for case, why in left_out.items())
                for case, one in adapted.items():
                    if what == LLAMA and dtype != torch.float32:
                        found = checked_in_float32(f"{label}: {case}", one, run)
                    else:
                        found = checked(f"{label}: {case}", one, run, mode, tolerance(dtype, mode), asked.backend)
                    yield found | {"case": case}
                torch._dynamo.reset()  # noqa: SLF001 -- torch's documented way to forget what was compiled


def _subjects(asked: argparse.Namespace, dtype: torch.dtype, mode: str) -> Iterator[tuple[str, Any, Run]]:
    """What is adapted, and what gives its outputs and gradients."""
    tokens, width = min(asked.tokens, 256), min(asked.width, 1024)
    if mode != "checkpointing":
        x, g = layer.tensors(tokens, width, width, dtype)
        yield "layer", layer.base(width, width, dtype), lambda adapted: layer.outcome(adapted, x, _like(x, g))
    if mode == COMPILED and dtype != torch.float32:  # it would take minutes
        return
    inputs, _ = bases.reads("llama", 2, min(asked.length, 64))
    frozen = bases.make(
        "llama", min(asked.hidden, 512), min(asked.layers, 2), dtype, checkpointing=mode == "checkpointing"
    )
    yield LLAMA, frozen, lambda adapted: model.outcome(adapted, "llama", inputs)


def _like(x: Tensor, g: Tensor) -> Tensor:
    """The gradient in the output's dtype, which autocast chooses."""
    return g.to(torch.bfloat16) if torch.is_autocast_enabled(x.device.type) else g


# Figures.


def peak_mib(job: Callable[[], Any]) -> float | None:
    """MiB held at the most while a job runs beyond those held before; None without a GPU, where `model.py` tells."""
    if os.environ[DEVICE] != "cuda":
        return None
    torch.cuda.synchronize()
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    job()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - held) / MIB


def figures(
    of: str, base_name: str, jobs: dict[tuple[str, str], Callable[[], float]], tokens: int, rounds: int
) -> list[Row]:
    """Rows of a table from jobs that give their seconds, by case and form; each form has the frozen one."""
    peaks = {key: peak_mib(job) for key, job in jobs.items()}
    times = in_turn(jobs, rounds)
    rows = []
    for (case, form), mine in times.items():
        ratio, least = ratios(mine, times[FROZEN, form])
        eager = times.get((FROZEN, EAGER))
        seconds = statistics.median(mine)
        rows.append({
            "of": of, "base": base_name, "case": case, "form": form, "ratio": ratio, "ratio_least": least,
            "ratio_eager": ratios(mine, eager)[0] if eager else None, "milliseconds": 1000 * seconds,
            "tokens_per_second": tokens / seconds, "peak_mib": peaks[case, form], "seconds_each_round": mine,
        })  # fmt: skip
    return rows


def both_forms(
    models: dict[str, Any],
    step: Callable[[Any], float],
    compiled: tuple[str, ...],
    backend: str,
    minutes: Minutes,
    of: str,
) -> dict[tuple[str, str], Callable[[], float]]:
    """A job for each case: compiled first, each once before anything is timed, then as it is.

    A case that torch.compile fails on is noted as left out.
    """
    jobs: dict[tuple[str, str], Callable[[], float]] = {}
    for case in [name for name in models if name in compiled]:
        if not minutes.suffice(f"{of}, compiled: {case}", 45):
            continue
        fast = torch.compile(models[case], backend=backend)
        try:
            step(fast)
        except Exception as error:  # noqa: BLE001 -- one that cannot be compiled takes nothing from the others
            minutes.left_out[f"{of}, compiled: {case}"] = f"{type(error).__name__}: {str(error)[:300]}"
            continue
        jobs[case, COMPILED] = partial(step, fast)
    if (FROZEN, COMPILED) not in jobs:
        jobs = {}
    return jobs | {(case, EAGER): partial(step, one) for case, one in models.items()}


def layers(asked: argparse.Namespace, failed: set[str], minutes: Minutes) -> Iterator[Row]:
    """One layer's forward and backward pass, each precision."""
    for base_name in reversed(asked.bases):  # 16 bits first, in which GPUs train
        if not minutes.suffice(f"layer, {base_name}", 20):
            continue
        dtype = DTYPES[base_name]
        frozen, (x, g) = (
            layer.base(asked.width, asked.width, dtype),
            layer.tensors(asked.tokens, asked.width, asked.width, dtype),
        )
        models, _ = make_all(frozen, asked.rank, tuple(name for name in asked.cases if name not in failed))
        step = partial(_layer_step, x=x, g=g)
        jobs = both_forms(models, step, tuple(models), asked.backend, minutes, f"layer, {base_name}")
        yield from figures("layer", base_name, jobs, asked.tokens, asked.rounds)
        torch._dynamo.reset()  # noqa: SLF001 -- as above


def _layer_step(adapted: Any, x: Tensor, g: Tensor) -> float:
    return sum(layer.both_passes(adapted, x, g))


def steps(asked: argparse.Namespace, failed: set[str], minutes: Minutes) -> Iterator[Row]:
    """A training step of a Llama, each precision."""
    inputs, tokens = bases.reads("llama", asked.rows, asked.length)
    for base_name in reversed(asked.bases):  # likewise
        if not minutes.suffice(f"model, {base_name}", 30):
            continue
        frozen = bases.make("llama", asked.hidden, asked.layers, DTYPES[base_name])
        models, _ = make_all(frozen, asked.rank, tuple(name for name in asked.cases if name not in failed))
        wanted = tuple(asked.compiled_models) if base_name == asked.bases[-1] else ()
        jobs = both_forms(
            models, lambda one: model.step(one, "llama", inputs), wanted, asked.backend, minutes, f"model, {base_name}"
        )
        yield from figures("model", base_name, jobs, tokens, asked.rounds)
        torch._dynamo.reset()  # noqa: SLF001 -- as above


def mixed(asked: argparse.Namespace, failed: set[str], minutes: Minutes) -> tuple[list[Row], list[Check]]:
    """Mixed batches as `serving.py` has them, with its own checks."""
    if not minutes.suffice("mixed batches", 45):
        return [], []
    frozen = bases.make("llama", min(asked.hidden, 1024), min(asked.layers, 4), torch.float32).eval()
    models, made = serving.all_adapted(frozen, asked.adapters, asked.rank)
    given = argparse.Namespace(rows=asked.adapters, length=asked.length and 16, rounds=asked.rounds)
    rows: list[Row] = []
    for base_name in asked.bases:
        kept = {name: one for name, one in models.items() if name not in failed}
        found, more = serving.measure(given, base_name, frozen, kept)
        made += more
        rows += [
            {**row, "of": "serving", "case": row["method"] or FROZEN, "form": row["case"],
             "milliseconds": 1000 * row["seconds"]}
            for row in found
        ]  # fmt: skip
    return rows, made


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The options; --tiny sets the sizes."""
    parser = options(str(__doc__), rounds=9)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, default=7.5, help="after which nothing new is begun (%(default)s)")
    parser.add_argument("--tiny", action="store_true", help="sizes at which times mean nothing: does it all work?")
    parser.add_argument("--tokens", type=int, default=8192, help="of the layer (%(default)s)")
    parser.add_argument("--width", type=int, default=4096, help="of the layer (%(default)s)")
    parser.add_argument("--hidden", type=int, default=2048, help="of the Llama, a multiple of 64 (%(default)s)")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--adapters", type=int, default=64, help="of a mixed batch (%(default)s)")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--backend", default="inductor", help="of torch.compile (%(default)s)")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), metavar="CASE",
                        default=[FROZEN, LORA, LORA_FAST, VEFA, LORFA])  # fmt: skip
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES), metavar="MODE",
                        help=f"of the checks: {', '.join(MODES)}; tests/gpu checks all at small sizes")  # fmt: skip
    parser.add_argument("--compiled-models", nargs="+", metavar="CASE", default=[FROZEN, LORA, VEFA, LORFA],
                        help="whole models that are compiled: each takes half a minute")  # fmt: skip
    asked = parser.parse_args(arguments)
    if asked.tiny:
        vars(asked).update(TINY)
    asked.cases = list(dict.fromkeys([FROZEN, *asked.cases]))
    return asked


def main(arguments: list[str] | None = None) -> None:
    """Check, measure, write; after every part what is known by then."""
    asked = parsed(arguments)
    print(told_device(asked.device), flush=True)
    prepare(asked.threads)
    torch._dynamo.config.recompile_limit = 64  # noqa: SLF001 -- each case is another module of one class
    minutes, began = Minutes(asked.minutes), time.monotonic()
    made: list[Check] = []
    for check in checks(asked, minutes):
        made.append(check)
        print(f"{time.monotonic() - began:5.0f} s  {_told(check)}", flush=True)
    failed = {check["case"] for check in made if not check.get("passed", True)}
    rows: list[Row] = []
    for part in (layers, steps):
        rows += part(asked, failed, minutes)
        _write(asked, made, rows, minutes)
        print(f"{time.monotonic() - began:5.0f} s  {part.__name__} done", flush=True)
    found, more = mixed(asked, failed, minutes)
    rows, made = rows + found, made + more
    text = _write(asked, made, rows, minutes)
    print(text)
    content = {"gate": made, "left_out": minutes.left_out, "columns": COLUMNS, "rows": rows}
    finish("gpu", asked, {**content, "seconds": time.monotonic() - began}, passed=passed(made))


def _told(check: Check) -> str:
    state = "skipped" if "skipped" in check else "right" if check["passed"] else "WRONG"
    found = check.get("error") or check.get("skipped") or f"{check['difference']:.1e}"
    return f"{state:7} {check['check']}  {found}"


def _write(asked: argparse.Namespace, made: list[Check], rows: list[Row], minutes: Minutes) -> str:
    """The table and what stands beside it, into gpu.md; gpu.json is written at the end, or here where there is none."""
    wrong = [check for check in made if not check.get("passed", True)]
    lines = [told_device(asked.device), "", f"{len(made)} checks, {len(wrong)} wrong."]
    lines += [f"* WRONG: {_told(check)}" for check in wrong]
    lines += [f"* left out: {name}: {why}" for name, why in minutes.left_out.items()]
    text = "\n".join([*lines, "", markdown(rows, COLUMNS), ""])
    asked.results.mkdir(parents=True, exist_ok=True)
    Path(asked.results, "gpu.md").write_text(text, encoding="utf-8")
    Path(asked.results, "gpu-partly.json").write_text(json.dumps({"gate": made, "rows": rows}, indent=1), "utf-8")
    return text


if __name__ == "__main__":
    main()
