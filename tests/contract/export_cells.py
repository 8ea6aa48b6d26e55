"""Every method in every form for serving: exact, the best of a rank, or refused in a sentence. Each cell is tried.

`python tests/contract/export_cells.py` (with `tests` and `tests/contract` on the path) writes the table of the page
docs/guides/export.md.
"""

from __future__ import annotations

import re
import sys
import tempfile
from functools import cache
from pathlib import Path

import quantised_cells
import torch
from contract_models import ARCHITECTURES
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM

import retain
from retain import InputError
from retain.hf.exporting.carried import config_values, form_problems

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "export.md"
FORMS = ("lora", "merged", "folded", "ia3")
MORE = {"dora": ("lora", {"use_dora": True}), "prompt_tuning": ("prompt_tuning", {"num_virtual_tokens": 2})}
"""Methods with fields, beside those that have a row of their own."""

EXACT, BEST, WHERE = "exact", "best of a rank", "where exact"
TOLERANCE = 5e-6
TABLE = re.compile(r"(?<=<!-- made by tests/contract/export_cells.py -->\n).*?(?=<!-- until here -->)", re.DOTALL)


def methods() -> list[str]:
    """The rows of the table."""
    return [*(name for name in quantised_cells.methods() if name != "full"), *MORE]


def tuned(method: str) -> PeftModel:
    """A tiny Llama with an adapter, disturbed as if it had been trained."""
    llama = ARCHITECTURES["llama"]
    name, fields = MORE.get(method, (method, {}))
    if fields:
        model = quantised_cells.attach(llama.make(), name, fields)
    else:
        model = quantised_cells.adapted(llama.make(), name, llama.batch())
    generator = torch.Generator().manual_seed(3)
    for key, parameter in model.named_parameters():
        if parameter.requires_grad and not key.endswith("vera_lambda_d"):
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.data.copy_(parameter.data + (0.05 * noise).to(parameter))
    return model.eval()


@cache
def cell(method: str, form: str) -> tuple[str, str]:
    """The state of a method in a form, and the sentence by which it is refused."""
    model = tuned(method)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "export"
        try:
            retain.export(model, place, to=form, show_progress=False)
        except InputError as error:
            told = error.problems[0]
            if "is larger than the layer" in told:
                found = retain.export(model, place, to=form, rank=4, show_progress=False)
                assert 0 < found.error < 1, f"{method}: {found.error}"
                return BEST, ""
            return ("refused", told) if method != "vefa" or form != "folded" else _folded()
        assert _distance(model, _loaded(place, form)) < TOLERANCE, f"{method} as {form}: its logits are others"
    return EXACT, ""


def gguf_cell(method: str) -> tuple[str, str]:
    """The state of a method as GGUF, which is made of the merged model."""
    problems = form_problems("merged", config_values(tuned(method).peft_config["default"]))
    return ("refused", problems[0]) if problems else ("rounded", "")


def _folded() -> tuple[str, str]:
    """A VeFA on layers of which the architecture lets the scales be moved."""
    llama = ARCHITECTURES["llama"]
    model = quantised_cells.attach(llama.make(), "vefa", {"target_modules": ["down_proj"]})
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)))
    with tempfile.TemporaryDirectory() as name:
        retain.export(model, Path(name) / "export", to="folded", show_progress=False)
        assert _distance(model, _loaded(Path(name) / "export", "folded")) < TOLERANCE
    return WHERE, ""


def _loaded(place: Path, form: str) -> nn.Module:
    if form in {"merged", "folded"}:
        return AutoModelForCausalLM.from_pretrained(place).eval()
    return PeftModel.from_pretrained(ARCHITECTURES["llama"].make(), place).eval()


def _distance(one: nn.Module, other: nn.Module) -> float:
    ids = ARCHITECTURES["llama"].batch()["input_ids"]
    with torch.no_grad():
        first, second = (model(input_ids=ids).logits for model in (one, other))
    return float((first - second).abs().max())


def table() -> str:
    """The table, with the sentences of its refusals as notes."""
    notes: dict[str, int] = {}
    rows = []
    for method in methods():
        states = [*(cell(method, form) for form in FORMS), gguf_cell(method)]
        words = [
            f"{state} [{notes.setdefault(_note(note), len(notes) + 1)}]" if note else state for state, note in states
        ]
        rows.append(f"| `{method}` | {' | '.join(words)} |")
    columns = [*FORMS, "gguf"]
    head = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    return "\n".join([*head, *rows]) + "\n\n" + "\n".join(f"{n}. {note}" for note, n in notes.items()) + "\n"


def _note(sentence: str) -> str:
    general = re.sub(r"this adapter's method is \w+", "this adapter's method is another", sentence)
    return re.sub(r"^--to \w+: \w+ is no update", "it is no update", general)


if __name__ == "__main__":
    PAGE.write_text(TABLE.sub(lambda _: table(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.exit(0)
