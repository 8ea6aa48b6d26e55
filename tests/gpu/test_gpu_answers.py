"""What a model answers on a GPU is what it answers on a CPU, in float32 without TF32."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model

import retain
from blank_drawings import draw_nothing
from causal_models import SHARING, made
from retain.records.items import read_items
from tiny import make_llama, make_tokenizer

RELATIVE = 1e-3
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TASK = [
    {"prompt": f"{a} word{i} {b}", "completion": " word1 z"}
    for i, (a, b) in enumerate(zip(LETTERS[:-3], LETTERS[3:], strict=True))
]
CHOICES = [
    {"question": f"{a} word{i % 30} then", "choices": list(LETTERS[i % 20 : i % 20 + 4]), "answer": i % 4}
    for i, a in enumerate(LETTERS)
]
WRITTEN = [{"question": f"word{i} {a} is", "answers": [a]} for i, a in enumerate(LETTERS[:12])]
CONFIGS = {
    "lora": lambda: LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False),
    "vefa": lambda: retain.VeFAConfig(target_modules="all-linear"),
    "lorfa": lambda: retain.LoRFAConfig(r=2, target_modules="all-linear"),
    "rotation": lambda: retain.RotationConfig(target_modules="all-linear", block_size=8),
}


def moved(model):
    """The model with adapters away from their start, by numbers drawn on the CPU."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw).to(parameter))
    return model.eval()


def measured(model, folder, text):
    return retain.measure(
        model, tokenizer=make_tokenizer(), test=TASK, keep={"letters": CHOICES, "written": WRITTEN},
        held_out_text=text, output=folder, show_progress=False, drift=False, generate=0, max_new_tokens=4,
    )  # fmt: skip


@pytest.mark.parametrize("method", CONFIGS)
def test_likelihoods_and_choices_are_those_of_a_cpu(tiny_data, tmp_path, device, method):
    torch.manual_seed(0)
    here = moved(get_peft_model(make_llama(), CONFIGS[method]()))
    there = copy.deepcopy(here).to(device)
    found = [
        measured(model, tmp_path / name, tiny_data / "text.txt") for name, model in (("cpu", here), ("gpu", there))
    ]
    assert found[0].provenance.model_hash == found[1].provenance.model_hash
    assert found[1].conditions["base"].device == device
    pairs = zip(read_items(tmp_path / "cpu" / "items.jsonl"), read_items(tmp_path / "gpu" / "items.jsonl"), strict=True)
    for one, other in pairs:
        for side in ("base", "tuned"):
            mine, theirs = getattr(one, side), getattr(other, side)
            assert mine.scores == pytest.approx(theirs.scores, rel=RELATIVE, abs=1e-5)
    kl = [result.drift.kl_nats_per_token for result in found]
    assert kl[0] == pytest.approx(kl[1], rel=1e-2, abs=1e-6)


@pytest.mark.parametrize("name", SHARING)
def test_each_architecture_reads_on_a_gpu_what_it_reads_on_a_cpu(tmp_path, device, name):
    torch.manual_seed(0)
    here = moved(get_peft_model(made(name), LoraConfig(r=2, target_modules="all-linear")))
    there = copy.deepcopy(here).to(device)
    kept = {"letters": CHOICES[:12]}
    quiet = {"show_progress": False, "drift": False, "generate": 0, "max_length": 60}
    for where, model in (("cpu", here), ("gpu", there)):
        retain.measure(model, tokenizer=make_tokenizer(), keep=kept, output=tmp_path / where, **quiet)
    pairs = zip(read_items(tmp_path / "cpu" / "items.jsonl"), read_items(tmp_path / "gpu" / "items.jsonl"), strict=True)
    for one, other in pairs:
        assert one.tuned.scores == pytest.approx(other.tuned.scores, rel=RELATIVE, abs=1e-5)


def test_text_that_a_model_writes_on_a_gpu_is_decided_by_its_seed(device):
    model, tokenizer = make_llama().to(device), make_tokenizer()
    state = torch.get_rng_state() if device == "cpu" else torch.cuda.get_rng_state()
    first, again, other = (
        retain.self_generated(model, tokenizer, tokens=200, max_length=24, seed=seed, batch_size=4)
        for seed in (0, 0, 1)
    )
    assert torch.equal(state, torch.get_rng_state() if device == "cpu" else torch.cuda.get_rng_state())
    rows = [[batch["input_ids"].tolist() for batch in batches] for batches in (first, again, other)]
    assert rows[0] == rows[1] != rows[2]


def test_an_sc_lora_begins_on_a_gpu_in_the_directions_of_a_cpu(device):
    """The factors are those of a CPU but for rounding: the same product, whatever the signs of single directions."""
    tokenizer = make_tokenizer()
    texts = [[" ".join(LETTERS[(i * j + shift) % 26] for j in range(20)) for i in range(1, 9)] for shift in (0, 7)]
    learn, keep = (retain.text_batches(tokenizer, part, length=20, batch_size=4) for part in texts)
    products = []
    for where in ("cpu", device):
        model = retain.sc_lora(make_llama().to(where), retain.SCLoRAConfig(r=4), learn=learn, keep=keep)
        products.append({
            name: (layer.lora_B["default"].initial @ layer.lora_A["default"].initial).detach().cpu()
            for name, layer in model.named_modules()
            if hasattr(layer, "lora_A") and hasattr(layer.lora_A["default"], "initial")
        })  # fmt: skip
    assert products[0]
    for name, product in products[0].items():
        assert torch.allclose(product, products[1][name], atol=5e-3 * float(product.abs().max())), name


@pytest.fixture(autouse=True)
def no_drawings(monkeypatch):
    draw_nothing(monkeypatch)
