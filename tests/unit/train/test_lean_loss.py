from functools import partial

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from transformers import (
    BertForMaskedLM,
    BertForSequenceClassification,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    MixtralConfig,
    MixtralForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    TrainingArguments,
)

from retain import VeFAConfig
from retain.data.examples import Example
from retain.data.tokens import encode_example
from retain.events import SILENT
from retain.recipe import Recipe
from retain.train import loop
from retain.train.lean_loss import LeanTrainer, agrees, lean_loss, may_be_lean, next_tokens, piece_of
from retain.train.loop import PadCollator, TrainingSet, train
from retain.train.prefetch import PrefetchingTrainer
from retain.train.regularise.kl_monitor import KLMonitor
from retain.train.regularise.kl_penalty import KLPenalty
from retain.train.regularise.update_limit import UpdateLimit
from tiny import SMALL, make_bert, make_llama, make_tokenizer

TOKENIZER = make_tokenizer()
EXAMPLES = [Example(prompt=f"word{i} a", completion=" b c" * (i % 3 + 1)) for i in range(24)]
ENCODED = [encode_example(TOKENIZER, example, 32) for example in EXAMPLES]
ROWS = [{"input_ids": list(row.ids), "labels": row.labels} for row in ENCODED]
LORA = {"target_modules": "all-linear", "r": 4, "lora_dropout": 0.1}


def make_gpt2():
    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=70, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=1)
    )


def make_gemma2(cap):
    torch.manual_seed(0)
    return Gemma2ForCausalLM(Gemma2Config(**SMALL, head_dim=8, final_logit_softcapping=cap))


def adapted(model, **change):
    torch.manual_seed(1)
    return get_peft_model(model, LoraConfig(**{**LORA, **change}))


def vefa(model):
    torch.manual_seed(1)
    return get_peft_model(model, VeFAConfig(target_modules="all-linear"))


KINDS = {
    "llama": make_llama,
    "gpt2, tied, dropout": make_gpt2,
    "llama, LoRA": lambda: adapted(make_llama()),
    "gpt2, LoRA": lambda: adapted(make_gpt2(), target_modules=["c_attn"], fan_in_fan_out=True),
    "llama, VeFA": lambda: vefa(make_llama()),
    "gemma2 without a cap": lambda: make_gemma2(None),
}
OTHERS = {
    "gemma2 with a cap": lambda: make_gemma2(2.0),
    "LoRA on the head": lambda: adapted(make_llama(), target_modules=["lm_head", "q_proj"]),
    "a trained copy of the head": lambda: adapted(make_llama(), target_modules=["q_proj"], modules_to_save=["lm_head"]),
    "prompts": lambda: get_peft_model(make_llama(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)),
}


def trainer(model, folder, *, plain=False, **change):
    values = {
        "max_steps": 5,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "include_num_input_tokens_seen": "non_padding",
        **change,
    }
    arguments = TrainingArguments(output_dir=str(folder), **values)
    return LeanTrainer(
        model=model,
        args=arguments,
        train_dataset=ROWS,
        eval_dataset=ROWS[:4],
        data_collator=PadCollator(0),
        plain=plain,
    )


def learn(make, folder, *, plain, **change):
    run = trainer(make(), folder, plain=plain, **change)
    run.train()
    losses = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    weights = torch.cat([p.detach().flatten() for p in run.model.parameters() if p.requires_grad])
    return run, losses, weights


def batch(rows=slice(4)):
    return PadCollator(0)(ROWS[rows])


@pytest.mark.parametrize(
    ("kind", "steps"), [*((kind, 1) for kind in KINDS), ("llama, LoRA", 3), ("gpt2, tied, dropout", 3)]
)
def test_training_is_the_same_with_and_without(tmp_path, kind, steps):
    options = {"gradient_accumulation_steps": steps}
    plain, expected, theirs = learn(KINDS[kind], tmp_path, plain=True, **options)
    lean, found, mine = learn(KINDS[kind], tmp_path, plain=False, **options)
    assert lean.lean
    assert plain.lean is False
    assert len(found) == 5
    assert found == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=2e-4)
    assert lean.state.num_input_tokens_seen == plain.state.num_input_tokens_seen > 0


@pytest.mark.parametrize("kind", OTHERS)
def test_other_models_learn_by_their_own_loss(tmp_path, kind):
    _, expected, theirs = learn(OTHERS[kind], tmp_path, plain=True, max_steps=2)
    run, found, mine = learn(OTHERS[kind], tmp_path, plain=False, max_steps=2)
    assert run.lean is False
    assert found == expected
    assert torch.equal(mine, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_every_gradient_is_that_of_the_models_own_loss(kind):
    model, inputs = KINDS[kind]().eval(), batch()
    own = model(**inputs).loss
    trained = [p for p in model.parameters() if p.requires_grad]
    slopes = torch.autograd.grad(own, trained)
    found = lean_loss(model, inputs)
    torch.testing.assert_close(found, own, rtol=1e-6, atol=0)
    for mine, theirs in zip(torch.autograd.grad(found, trained), slopes, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_bfloat16_weights_and_autocast_agree_with_the_plain_loss(tmp_path):
    for make, options in (
        (lambda: adapted(make_llama().bfloat16()), {}),
        (lambda: adapted(make_llama()), {"bf16": True}),
    ):
        _, expected, _ = learn(make, tmp_path, plain=True, **options)
        run, found, _ = learn(make, tmp_path, plain=False, **options)
        assert run.lean
        assert found == pytest.approx(expected, rel=2e-3)


def test_label_smoothing_goes_by_logits(tmp_path):
    change = {"label_smoothing_factor": 0.1}
    _, expected, _ = learn(make_llama, tmp_path, plain=True, max_steps=2, **change)
    run, found, _ = learn(make_llama, tmp_path, plain=False, max_steps=2, **change)
    assert run.lean is False
    assert found == expected
    assert found != learn(make_llama, tmp_path, plain=False, max_steps=2)[1]


def test_a_loss_function_of_the_users_is_called(tmp_path):
    run = trainer(make_llama(), tmp_path, max_steps=1)
    run.compute_loss_func = lambda outputs, labels, num_items_in_batch: outputs.logits[labels.ne(-100)].square().mean()
    run.train()
    assert run.lean is False


def test_a_wrapped_and_a_compiled_model_keep_their_own_loss(tmp_path):
    model = make_llama()
    run = trainer(model, tmp_path)
    assert run._agrees(model, batch())
    assert not run._agrees(torch.nn.DataParallel(model), batch())
    assert not run._agrees(torch.compile(model), batch())
    model.compile()
    assert not run._agrees(model, batch())


def test_models_of_other_kinds_are_not_tried(tmp_path):
    torch.manual_seed(0)
    bert = make_bert(num_labels=2).config
    t5 = T5Config(vocab_size=70, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0)
    experts = MixtralConfig(**SMALL, num_local_experts=2, num_experts_per_tok=1, output_router_logits=True)
    inputs = batch()
    assert may_be_lean(make_llama(), inputs)
    for model in (BertForMaskedLM(bert), T5ForConditionalGeneration(t5), MixtralForCausalLM(experts)):
        assert not may_be_lean(model, inputs)
    assert not may_be_lean(BertForSequenceClassification(bert), {**inputs, "labels": torch.zeros(4)})
    assert not may_be_lean(make_llama(), {**inputs, "token_type_ids": inputs["labels"]})
    watched = make_llama()
    watched.lm_head.register_forward_hook(lambda *_: None)
    assert not may_be_lean(watched, inputs)


def test_a_loss_of_the_models_own_does_not_agree():
    model, inputs = make_llama(), batch()
    assert agrees(model, inputs)
    usual = model.loss_function
    for change in (lambda loss: 1.001 * loss, lambda loss: loss + 0.01):
        model.loss_function = lambda *args, change=change, **kwargs: change(usual(*args, **kwargs))
        assert not agrees(model, inputs)

    def by_its_mean(*args, num_items_in_batch=None, **kwargs):
        return usual(*args, **kwargs)

    model.loss_function = by_its_mean
    assert not agrees(model, inputs)
    assert agrees(model, inputs, num_items=False)


def test_the_check_leaves_no_trace(tmp_path):
    model = adapted(make_gpt2(), target_modules=["c_attn"], fan_in_fan_out=True).train()
    model.base_model.model.transformer.h[0].eval()
    modes = [module.training for module in model.modules()]
    drawn = torch.random.get_rng_state()
    assert agrees(model, batch())
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.base_model.model.lm_head._forward_pre_hooks


def test_hooks_go_also_when_the_model_fails():
    model = make_llama()
    with pytest.raises(IndexError):
        lean_loss(model, {"input_ids": torch.tensor([[10_000]]), "labels": torch.tensor([[1]])})
    assert not model.lm_head._forward_pre_hooks


def test_the_first_batch_without_a_label_decides_nothing(tmp_path):
    run = trainer(make_llama(), tmp_path)
    empty = batch()
    empty["labels"] = torch.full_like(empty["labels"], -100)
    assert run.compute_loss(run.model, empty, num_items_in_batch=torch.tensor(3)) == 0
    assert run.lean is None
    run.compute_loss(run.model, batch())
    assert run.lean
    assert run.compute_loss(run.model, empty, num_items_in_batch=torch.tensor(3)) == 0


def test_evaluation_keeps_its_logits(tmp_path):
    run, _, _ = learn(make_llama, tmp_path, plain=False, max_steps=1)
    found = run.predict(ROWS[:4])
    with torch.no_grad():
        expected = run.model(**batch())
    torch.testing.assert_close(torch.from_numpy(found.predictions), expected.logits)
    assert found.metrics["test_loss"] == pytest.approx(float(expected.loss), rel=1e-5)


def test_labels_are_shifted_and_the_piece_holds_one():
    labels = torch.full((2, 300), -100)
    labels[1, 200:] = 7
    assert next_tokens(labels)[1, 199:].tolist() == [7] * 100 + [-100]
    piece = piece_of({"input_ids": torch.arange(600).view(2, 300), "labels": labels})
    assert piece["input_ids"].shape == (1, 64)
    assert piece["input_ids"][0, 0] == 300 + 199 - 32
    assert next_tokens(piece["labels"]).ne(-100).any()
    labels[1, 201:], labels[1, 0] = -100, 7
    labels[1, 200] = -100
    assert piece_of({"input_ids": labels, "labels": labels}) is None  # a first token is never predicted


def test_the_loop_of_retain_takes_it(tmp_path, monkeypatch):
    seen = []

    class Seen(PrefetchingTrainer):
        def train(self, *args, **kwargs):
            super().train(*args, **kwargs)
            seen.append(self.lean)

    monkeypatch.setattr(loop, "PrefetchingTrainer", Seen)
    recipe = Recipe(
        model="m", train="t", test="e", output="o", method="full", learning_rate=1e-2, max_steps=2, batch_size=4
    )
    train(make_llama(), TrainingSet.of_text(ENCODED, pad_id=0), recipe, tmp_path, SILENT)
    assert seen == [True]


def test_anchor_limit_and_watch_see_the_same_training(tmp_path, monkeypatch):
    fields = {"model": "m", "train": "t", "test": "e", "output": "o", "method": "full", "learning_rate": 1e-2}
    recipe = Recipe(**fields, max_steps=4, batch_size=4, training={"logging_steps": 1})
    kept = [{name: value for name, value in batch().items() if name != "labels"}]
    curves = []
    for plain in (True, False):
        monkeypatch.setattr(loop, "PrefetchingTrainer", partial(PrefetchingTrainer, plain=plain))
        kl_monitor = KLMonitor(kept, every=2)
        means = [KLPenalty(kept, weight=0.5), UpdateLimit(0.05), kl_monitor]
        training_set = TrainingSet.of_text(ENCODED, pad_id=0)
        _, curve = train(adapted(make_llama()), training_set, recipe, tmp_path / str(plain), SILENT, means)
        curves.append([*((point.loss, point.kl_nats_per_token) for point in curve), *kl_monitor.points])
    assert len(curves[0]) > 2
    for one, other in zip(*curves, strict=True):
        assert one == pytest.approx(other, rel=1e-3)
