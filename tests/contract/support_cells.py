"""Every method with every backend: tested, refused in a sentence, or untried. The page docs/reference/support.md.

`python tests/contract/support_cells.py` (with `tests` and `tests/contract` on the path) writes the page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import quantised_cells
import torch
from contract_models import ARCHITECTURES

import gpu_methods
import trl_runs
from retain.jobs.launch import support
from retain.kernels.eligibility import reference_only
from retain.methods.table import METHODS, initialisations

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "support.md"

COLUMNS = ("GPU", *support.BACKENDS, *quantised_cells.QUANTISED, quantised_cells.OFFLOAD, "compile", "TRL")

HEAD = """# What works with what

The tests make this table: each cell is a test that passes, a refusal that `retain check` says before anything is
loaded, or untried. DDP trains two processes on a processor, from the command line. FSDP2 is tested by torch's
`fully_shard`, and DeepSpeed only in the slow tests, both on a processor: Accelerate shards on several accelerators,
and there never were several. *Offload* keeps a layer on disk; *compile* is `torch.compile` without a graph break; *TRL*
are the trainers SFT, DPO, KTO, GRPO, RLOO and Reward. *GPU* is one GPU, on which `make test-gpu` passed on 2026-11-29
(an H200); it is not in CI. The other columns were tried on processors alone.

"""


def trl_cell(method: str) -> tuple[str, str]:
    """The state of a method in TRL's trainers, together."""
    cells = {trainer: cell for (trainer, name), cell in trl_runs.cells().items() if name == method}
    tested = [name for name, cell in cells.items() if cell.state == "tested"]
    if not cells:
        return "untried", ""
    return ("tested", "") if len(tested) == len(cells) else ("tested", f"tested with {', '.join(tested)} only")


@cache
def compile_cell(method: str) -> tuple[str, str]:
    """The state of a compiled model: whether it breaks no graph and gives the same logits.

    Retain's methods are compiled by test_contract_layer, and SC-LoRA, whose layers all initialisations have, by
    test_contract_sc_lora_sharding; all others here.
    """
    if method in {*(own.name for own in METHODS), *initialisations()}:
        return "tested", ""
    llama = ARCHITECTURES["llama"].shallow()
    model = llama.make() if method == "full" else quantised_cells.adapted(llama.make(), method, llama.batch())
    model.eval()
    torch._dynamo.reset()
    with torch.no_grad(), reference_only():
        expected = model(**llama.batch()).logits
        try:
            found = torch.compile(model, fullgraph=True, backend="eager")(**llama.batch()).logits
        except torch._dynamo.exc.Unsupported:
            return "graph breaks", "PEFT's layer cannot be compiled as one graph; compiled in pieces it was not tried"
    assert torch.equal(found, expected), f"{method}: compiled, its logits are others"
    return "tested", ""


def gpu_cell(method: str) -> str:
    """Whether tests/gpu trains the method."""
    trained = {fields["method"] if isinstance(fields["method"], str) else fields["method"]["name"]
               for fields in gpu_methods.METHODS.values()}  # fmt: skip
    return "tested" if method in trained else "untried"


def cells() -> Iterator[tuple[str, str, str, str]]:
    """Method, column, state and note of every cell."""
    processes = {(cell.what, cell.backend): cell for cell in support.method_cells()}
    for method in quantised_cells.methods():
        yield method, "GPU", gpu_cell(method), ""
        for backend in support.BACKENDS:
            cell = processes.get((method, backend))
            yield method, backend, *((cell.state, "") if cell else ("untried", ""))
        for column in (*quantised_cells.QUANTISED, quantised_cells.OFFLOAD):
            text = quantised_cells.cell(method, column)
            yield method, column, *(("tested", "") if text == quantised_cells.TESTED else ("refused", text))
        yield method, "compile", *compile_cell(method)
        yield method, "TRL", *trl_cell(method)


def page() -> str:
    """The page, from the cells."""
    rows: dict[str, list[str]] = {}
    notes: dict[str, int] = {}
    for method, _, state, note in cells():
        mark = f" [{notes.setdefault(note, len(notes) + 1)}]" if note else ""
        rows.setdefault(method, []).append(f"{state}{mark}" if state != "tested" or mark else "yes")
    lines = [f"| | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines += [f"| `{method}` | {' | '.join(row)} |" for method, row in rows.items()]
    return HEAD + "\n".join(lines) + "\n\n" + "\n".join(f"{n}. {note}" for note, n in notes.items()) + "\n"


def states(text: str) -> list[str]:
    """The table of a page without the numbers of its notes, whose words may differ between processors."""
    return [re.sub(r" \[\d+\]", "", line) for line in text.splitlines() if line.startswith("|")]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.exit(0)
