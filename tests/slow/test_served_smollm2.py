"""SmolLM2 as a GGUF file in llama.cpp: transformers' greedy answers, and an adapter that is seen acting."""

from pathlib import Path

import pytest

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from retain.cli.main import main
from retain.data.tokens import encode_question
from retain.jobs.served.connect import connect
from retain.recipe import MeasureRecipe
from retain.served.explore import Probe
from retain.served.gguf_server import serving
from retain.served.model import Prompt
from tiny_gguf import write_gguf

ASSETS = Path(__file__).parents[2] / ".assets" / "smollm2-135m-instruct"
PROMPTS = [
    f"{question} {thing}?"
    for thing in (
        "bread",
        "the moon",
        "a river",
        "iron",
        "music",
        "the heart",
        "winter",
        "a king",
        "sugar",
        "an engine",
    )
    for question in ("What is", "Where does one find", "Who needs", "What is the use of", "Tell me the colour of")
]

pytestmark = pytest.mark.slow


def load():
    return AutoModelForCausalLM.from_pretrained(ASSETS, dtype=torch.float32).eval()


def test_greedy_answers_to_fifty_prompts_are_those_of_transformers(tmp_path):
    """49 of 50 on two cores: llama.cpp keeps keys and values in 16 bits, and one answer parts at a near tie."""
    tokenizer, model = AutoTokenizer.from_pretrained(ASSETS), load()
    path = write_gguf(model, tokenizer, tmp_path / "smollm2.gguf", splits="smollm")
    recipe = MeasureRecipe(model="m", tuned=str(path), output="o", keep=["k"])
    rows = [encode_question(tokenizer, prompt, 64) for prompt in PROMPTS]
    ends = (tokenizer.eos_token_id,)
    with serving(str(path), "tuned", context=256) as address:
        served = connect(recipe, address, None, "tuned", Probe(rows[0].ids, "What is bread?", rows[0].messages))
        there = [served.write(Prompt(row.ids), 16, ends).text for row in rows]
        served.transport.close()
    here = []
    for row in rows:
        made = model.generate(torch.tensor([row.ids]), max_new_tokens=16, do_sample=False, eos_token_id=list(ends))
        here.append(tokenizer.decode(made[0, len(row.ids) :], skip_special_tokens=True))
    same = sum(one == other for one, other in zip(here, there, strict=True))
    assert served.can.likelihood == "forced"
    assert len(PROMPTS) == 50
    assert same >= 49, [pair for pair in zip(here, there, strict=True) if pair[0] != pair[1]]


def test_an_adapter_is_seen_acting_and_the_base_in_its_place(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("retain.jobs.served.acting.PROMPTS", 8)
    monkeypatch.setattr("retain.evaluate.served.acting.TOKENS", 6)
    torch.manual_seed(0)
    model = get_peft_model(load(), LoraConfig(r=8, target_modules="all-linear", init_lora_weights=False))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.mul_(0.1)
    model.save_pretrained(tmp_path / "adapter")
    tokenizer = AutoTokenizer.from_pretrained(ASSETS)
    tuned = write_gguf(model.merge_and_unload(), tokenizer, tmp_path / "tuned.gguf", splits="smollm")
    asked = ["measure", "--model", str(ASSETS), "--adapter", str(tmp_path / "adapter"), "--only-check"]
    assert main([*asked, "--tuned", str(tuned)]) == 0
    assert "The adapter acts" in capsys.readouterr().out
    base = write_gguf(load(), tokenizer, tmp_path / "base.gguf", splits="smollm")
    assert main([*asked, "--tuned", str(base)]) == 3
    assert "does not act" in capsys.readouterr().out
