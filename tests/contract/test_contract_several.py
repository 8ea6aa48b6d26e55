"""Several adapters in one model: summed when active together, switched, deleted, combined, and one a row."""

from contextlib import nullcontext

import pytest
import torch
from contract_models import ARCHITECTURES, adapted, bits, disturb, layers_of, logits, make_config, same_bits
from transformers import T5Config, T5ForConditionalGeneration

from retain.errors import InputError, TargetError


@pytest.fixture
def pair(method, architecture):
    model = adapted(method, architecture)
    model.add_adapter("second", make_config(method))
    disturb(model, "default", seed=2)
    disturb(model, "second", seed=3)
    return model


def activate(model, names):
    model.base_model.set_adapter(names)


def effective(model):
    """Every adapted layer's effective weight, measured by merging in float64."""
    model.double().merge_adapter()
    weights = bits(model)
    model.unmerge_adapter()
    return weights


def test_active_together_is_additive_and_order_free(pair, architecture):
    base = {key: value.double() for key, value in bits(pair).items()}
    found = {}
    for names in (["default"], ["second"], ["default", "second"], ["second", "default"]):
        activate(pair, names)
        found["+".join(names)] = effective(pair)
    for key, W0 in base.items():
        change = found["default"][key] - W0 + found["second"][key] - W0
        torch.testing.assert_close(found["default+second"][key] - W0, change, rtol=0, atol=1e-14)
        torch.testing.assert_close(found["second+default"][key], found["default+second"][key], rtol=0, atol=1e-14)
    batch = architecture.batch(dtype=torch.float64)
    together = logits(pair, batch)
    activate(pair, ["default", "second"])
    torch.testing.assert_close(logits(pair, batch), together, rtol=0, atol=1e-13)


def test_merged_together_or_one_by_one_equals_unmerged(pair, architecture):
    batch, before = architecture.batch(), bits(pair)
    activate(pair, ["default", "second"])
    expected = logits(pair, batch)
    pair.merge_adapter()
    together = bits(pair)
    torch.testing.assert_close(logits(pair, batch), expected, rtol=0, atol=2e-6)
    pair.unmerge_adapter()
    assert same_bits(bits(pair), before)
    for name in ("second", "default"):
        with pytest.warns() if name == "default" else nullcontext():
            pair.merge_adapter(adapter_names=[name])
    for key, value in bits(pair).items():
        torch.testing.assert_close(value, together[key], rtol=0, atol=1e-6)
    pair.unmerge_adapter()
    assert same_bits(bits(pair), before)


def test_switching_and_deleting(pair, architecture):
    batch = architecture.batch()
    first = logits(pair, batch)
    pair.set_adapter("second")
    second = logits(pair, batch)
    assert not torch.allclose(first, second)
    assert {n.split(".")[-2] for n, p in pair.named_parameters() if p.requires_grad} == {"second"}
    pair.set_adapter("default")
    assert torch.equal(logits(pair, batch), first)
    pair.delete_adapter("default")
    assert "default" not in pair.peft_config
    assert all("default" not in layer.scaling for layer in layers_of(pair))
    pair.set_adapter("second")
    assert torch.equal(logits(pair, batch), second)


def test_mixed_batch_gives_each_row_its_adapter(pair, architecture, dtype):
    pair.to(dtype)
    batch = architecture.batch(dtype=dtype)
    names = ["second", "__base__", "default", "second"]
    mixed = logits(pair, batch, adapter_names=names)
    alone = {"__base__": _base(pair, batch)}
    for name in ("default", "second"):
        pair.set_adapter(name)
        alone[name] = logits(pair, batch)
    for row, name in enumerate(names):
        torch.testing.assert_close(mixed[row], alone[name][row], rtol=0, atol=1e-6 if dtype == torch.float32 else 2e-2)
    assert not torch.allclose(alone["default"][3], mixed[3], atol=1e-3)


def _base(model, batch):
    with model.disable_adapter():
        return logits(model, batch)


def test_mixed_batch_leaves_no_hook_behind(pair, architecture):
    batch = architecture.batch()
    expected = logits(pair, batch)
    logits(pair, batch, adapter_names=["second"] * 4)
    assert torch.equal(logits(pair, batch), expected)
    with pytest.raises(InputError, match="for a batch of 4"):
        pair(**batch, adapter_names=["second"])
    assert torch.equal(logits(pair, batch), expected)


@pytest.mark.parametrize("beams", [1, 2])
def test_mixed_batch_in_generate(method, llama, beams):
    model = adapted(method, llama)
    model.add_adapter("second", make_config(method))
    disturb(model, "default", size=0.4)
    disturb(model, "second", seed=3, size=0.4)
    ids = llama.batch(rows=3)["input_ids"]
    settings = {"max_new_tokens": 4, "do_sample": False, "num_beams": beams, "attention_mask": torch.ones_like(ids)}
    settings["pad_token_id"] = 1
    mixed = model.generate(input_ids=ids, adapter_names=["default", "second", "__base__"], **settings)
    for row, name in enumerate(("default", "second")):
        model.set_adapter(name)
        assert torch.equal(model.generate(input_ids=ids, **settings)[row], mixed[row])
    with model.disable_adapter():
        assert torch.equal(model.generate(input_ids=ids, **settings)[2], mixed[2])


def test_mixed_batch_with_beams_repeats_rows_in_the_decoder_only(method):
    torch.manual_seed(0)
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4, "vocab_size": 64}
    base = T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0)).eval()
    from peft import get_peft_model

    model = get_peft_model(base, make_config(method)).eval()
    disturb(model, size=0.4)
    ids = torch.arange(2, 14).view(2, 6)
    settings = {"input_ids": ids, "num_beams": 3, "max_new_tokens": 4, "do_sample": False}
    mixed = model.generate(**settings, adapter_names=["default", "__base__"])
    assert torch.equal(mixed[0], model.generate(**settings)[0])
    with model.disable_adapter():
        assert torch.equal(mixed[1], model.generate(**settings)[1])


def test_mixed_batch_mistakes_are_named(pair, architecture):
    batch = architecture.batch()
    with pytest.raises(InputError, match="no adapter third; there are default, second"):
        pair(**batch, adapter_names=["third"] * 4)
    with pytest.raises(InputError, match="eval"):
        pair.train()(**batch, adapter_names=["second"] * 4)
    pair.eval().merge_adapter()
    with pytest.raises(InputError, match="unmerge"):
        pair(**batch, adapter_names=["second"] * 4)


def test_weighted_combination_is_exact(pair):
    pair.double()
    base = bits(pair)
    activate(pair, ["default"])
    first = effective(pair)
    activate(pair, ["second"])
    second = effective(pair)
    pair.add_weighted_adapter(["default", "second"], [0.7, -1.5], "sum")
    pair.set_adapter("sum")
    combined = effective(pair)
    for key, W0 in base.items():
        expected = 0.7 * (first[key] - W0) - 1.5 * (second[key] - W0)
        torch.testing.assert_close(combined[key] - W0, expected, rtol=0, atol=1e-14)


def test_weighted_combination_of_unlike_adapters_saves_and_loads(method, llama, tmp_path):
    from peft import PeftModel

    unlike = {"r": 4, "lorfa_alpha": 6} if method.name == "lorfa" else {}
    model = adapted(method, llama, target_modules=["q_proj", "down_proj"])
    model.add_adapter("second", make_config(method, target_modules=["q_proj", "v_proj"], **unlike))
    disturb(model, "default")
    disturb(model, "second", seed=3)
    model.add_weighted_adapter(["default", "second"], [1.0, 1.0], "sum")
    activate(model, ["default", "second"])
    expected = logits(model, llama.batch())
    model.set_adapter("sum")
    torch.testing.assert_close(logits(model, llama.batch()), expected, rtol=0, atol=1e-6)
    model.save_pretrained(tmp_path, selected_adapters=["sum"])
    loaded = PeftModel.from_pretrained(llama.make(), tmp_path / "sum")
    torch.testing.assert_close(logits(loaded, llama.batch()), expected, rtol=0, atol=1e-6)


def test_weighted_combination_mistakes_are_all_named(pair):
    with pytest.raises(InputError) as caught:
        pair.add_weighted_adapter(["default", "none"], [1.0], "second", combination_type="svd")
    text = str(caught.value)
    for part in ("'none'", "one weight for each", "'second' is there already", "'svd' is refused"):
        assert part in text


def test_linear_combination_of_low_rank_factors_is_refused_with_the_reason(llama):
    from contract_models import BY_NAME

    model = adapted(BY_NAME["lorfa"], llama)
    model.add_adapter("second", make_config(BY_NAME["lorfa"]))
    with pytest.raises(InputError, match="Σ wB"):
        model.add_weighted_adapter(["default", "second"], [1, 1], "sum", combination_type="linear")


def test_a_failed_second_adapter_leaves_the_first(method, llama):
    model = adapted(method, llama)
    disturb(model)
    expected = logits(model, llama.batch())
    with pytest.raises(TargetError):
        model.add_adapter("second", make_config(method, target_modules=["embed_tokens"]))
    assert list(model.peft_config) == ["default"]
    assert torch.equal(logits(model, llama.batch()), expected)


def test_architectures_are_the_four():
    assert set(ARCHITECTURES) == {"llama", "gpt2", "bert", "vit"}
