"""Whole models that were given tokens before they were trained: their update is scaled all the same."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from retain.cli.main import main
from retain.errors import InputError
from retain.hf.scaling import scaled
from tiny import make_tokenizer


def untuned(folder, *, tied=False):
    model = AutoModelForCausalLM.from_pretrained(folder)
    if tied:
        model.config.tie_word_embeddings = True
        model.lm_head.weight = model.model.embed_tokens.weight
    return model


def tuned(folder, rows, *, tied=False):
    model = untuned(folder, tied=tied)
    model.resize_token_embeddings(rows)
    with torch.no_grad():
        for parameter in model.parameters():
            generator = torch.Generator().manual_seed(parameter.numel())
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("rows", [71, 80])
def test_common_rows_are_interpolated_and_new_ones_stay(tiny_folder, rows, tied):
    base = untuned(tiny_folder, tied=tied)
    model, old = tuned(tiny_folder, rows, tied=tied), base.get_input_embeddings().weight
    now = {name: value.detach().clone() for name, value in model.state_dict().items()}
    for alpha in (0.0, 0.25, 1.0):
        with scaled(model, alpha, base=base):
            found = model.get_input_embeddings().weight
            whole = now["model.embed_tokens.weight"]
            torch.testing.assert_close(found[:70], old + alpha * (whole[:70] - old))
            assert torch.equal(found[70:], whole[70:])
            assert (model.lm_head.weight is found) == tied
    with scaled(model, 0.0, base=base), torch.no_grad():
        ids = torch.arange(1, 9)[None]
        assert torch.equal(model(ids).logits[..., :70], base(ids).logits)
    assert all(torch.equal(value, now[name]) for name, value in model.state_dict().items())


def test_fewer_tokens_than_the_base_has_are_refused_with_the_reason(tiny_folder):
    base, model = AutoModelForCausalLM.from_pretrained(tiny_folder), tuned(tiny_folder, 66)
    with pytest.raises(InputError, match=r"embed_tokens\.weight: the tuned model has rows for 66 tokens and its base"):
        scaled(model, 0.5, base=base).__enter__()


def test_other_sizes_are_still_refused(tiny_folder):
    base, model = AutoModelForCausalLM.from_pretrained(tiny_folder), tuned(tiny_folder, 70)
    model.model.layers[0].mlp.up_proj = torch.nn.Linear(4, 4)
    with pytest.raises(InputError, match="differ in more than values"):
        scaled(model, 0.5, base=base).__enter__()


def test_by_the_command_line(tiny_folder, tiny_data, tmp_path, capsys):
    tuned(tiny_folder, 76).save_pretrained(tmp_path / "tuned")
    make_tokenizer().save_pretrained(tmp_path / "tuned")
    words = ["--model", tiny_folder, "--tuned", tmp_path / "tuned", "--test", tiny_data / "test.jsonl"]
    words += ["--alpha", "0.5", "--output", tmp_path / "out", "--test-items", "3"]
    assert main(["scale", *map(str, words)]) == 0, capsys.readouterr().err
    half = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "model")
    assert len(half.get_input_embeddings().weight) == 76
