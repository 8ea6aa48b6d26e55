from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import (
    BertForSequenceClassification,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    TrainerState,
    ViTForImageClassification,
)

from retain import VeFAConfig
from retain.errors import InputError, TrainingError
from retain.evaluate.scores.token_distributions import kl
from retain.hf.models.lm_head import head_stands_apart
from retain.train.regularise.divergence import Divergence
from retain.train.regularise.kl_penalty import KLPenalty, text_batches
from tiny import SMALL, make_bert, make_llama, make_tokenizer, make_vit

ADAPTERS = [LoraConfig(target_modules="all-linear"), VeFAConfig(target_modules="all-linear")]


def batches(count=3):
    generator = torch.Generator().manual_seed(1)
    mask = torch.tensor([[1] * 9, [1] * 6 + [0] * 3])
    return [
        {"input_ids": torch.randint(2, 60, (2, 9), generator=generator), "attention_mask": mask} for _ in range(count)
    ]


def moved(base, config=None, scale=0.2):
    """An adapter that has learned something, at random."""
    model = get_peft_model(base, config or LoraConfig(target_modules="all-linear", lora_dropout=0.3))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return model


def direct(model, batch):
    """Mean KL over attended positions from two whole forwards, and its gradients by autograd."""
    model.eval()
    with torch.no_grad(), model.disable_adapter():
        before = model(**batch).logits
    after = model(**batch).logits
    p, q = before.log_softmax(-1), after.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)[batch["attention_mask"].bool()].mean()


@pytest.mark.parametrize("config", ADAPTERS)
def test_loss_and_gradient_are_those_of_two_forwards(config):
    model, batch = moved(make_llama(), config, scale=1.0), batches(1)[0]
    trained = [p for p in model.parameters() if p.requires_grad]
    expected = direct(model, batch)
    slopes = torch.autograd.grad(expected, trained)
    found = KLPenalty([batch]).loss(model)
    assert expected > 0.001
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    for mine, theirs in zip(torch.autograd.grad(found, trained), slopes, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-6)


def test_it_agrees_with_what_evaluation_measures():
    model, batch = moved(make_llama()), batches(1)[0]
    model.eval()
    with torch.no_grad():
        after = model(**batch).logits
        with model.disable_adapter():
            before = model(**batch).logits
    measured = kl(before, after)[batch["attention_mask"].bool()].mean()
    torch.testing.assert_close(KLPenalty([batch]).loss(model).detach(), measured, rtol=1e-4, atol=1e-6)


def test_a_fresh_adapter_has_no_distance():
    model = get_peft_model(make_llama(), LoraConfig(target_modules="all-linear", lora_dropout=0.5))
    assert KLPenalty(batches(1)).loss(model.train()).item() == 0


def test_everything_is_given_back_as_it_was():
    model = moved(make_llama()).train()
    model.base_model.model.model.layers[0].eval()
    frozen = next(p for name, p in model.named_parameters() if "lora_A" in name)
    frozen.requires_grad = False
    modes = [module.training for module in model.modules()]
    wants = [parameter.requires_grad for parameter in model.parameters()]
    drawn = torch.random.get_rng_state()
    kl_penalty = KLPenalty(batches())
    kl_penalty.loss(model).backward()
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == wants
    assert frozen.grad is None
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert not any(module.disable_adapters for module in model.modules() if isinstance(module, BaseTunerLayer))


def test_an_adapter_on_the_head_and_a_capped_or_scaled_head_go_by_whole_logits():
    gemma = Gemma2ForCausalLM(Gemma2Config(**SMALL, head_dim=8, final_logit_softcapping=2.0))
    granite = GraniteForCausalLM(GraniteConfig(**SMALL, logits_scaling=3.0))
    on_head = LoraConfig(target_modules=["lm_head", "q_proj"])
    whole = LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"])
    batch = batches(1)[0]
    for base, config, apart in (
        (make_llama(), None, True),
        (make_llama(), on_head, False),
        (make_llama(), whole, False),
        (gemma, None, False),
        (granite, None, False),
        (Gemma2ForCausalLM(Gemma2Config(**SMALL, head_dim=8, final_logit_softcapping=None)), None, True),
    ):
        model = moved(base, config)
        assert head_stands_apart(model, batch) is apart
        torch.testing.assert_close(KLPenalty([batch]).loss(model), direct(model, batch), rtol=1e-4, atol=1e-6)


def test_virtual_tokens_before_the_text_are_no_positions():
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    model, batch = get_peft_model(make_llama(), config), batches(1)[0]
    with torch.no_grad():
        before = model.get_base_model()(**batch).logits
        after = model(**batch).logits[:, -9:]
    expected = kl(before, after)[batch["attention_mask"].bool()].mean()
    torch.testing.assert_close(KLPenalty([batch]).loss(model).detach(), expected, rtol=1e-4, atol=1e-6)


def test_classifiers_of_texts_and_pictures():
    bert = make_bert(num_labels=3)
    text = BertForSequenceClassification(bert.config)
    picture = ViTForImageClassification(make_vit(num_labels=4).config)
    for base, batch in (
        (text, batches(1)[0]),
        (picture, {"pixel_values": torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))}),
    ):
        model = moved(base.eval(), LoraConfig(target_modules="all-linear", modules_to_save=["classifier"]))
        with torch.no_grad():
            after = model(**batch).logits.log_softmax(-1)
            with model.disable_adapter():
                before = model(**batch).logits.log_softmax(-1)
        expected = (before.exp() * (before - after)).sum(-1).mean()
        found = KLPenalty([{**batch, "labels": torch.zeros(1)}]).loss(model)
        torch.testing.assert_close(found.detach(), expected, rtol=1e-4, atol=1e-7)


def test_a_teacher_serves_full_fine_tuning_with_a_head_of_its_own():
    teacher, student = make_llama(0), make_llama(1)
    batch = batches(1)[0]
    found = KLPenalty([batch], teacher=teacher).loss(student)
    p, q = (side(**batch).logits.log_softmax(-1) for side in (teacher, student))
    expected = (p.exp() * (p - q)).sum(-1)[batch["attention_mask"].bool()].mean()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    theirs = torch.autograd.grad(expected, student.lm_head.weight)[0]
    found.backward()
    torch.testing.assert_close(student.lm_head.weight.grad, theirs, rtol=1e-3, atol=1e-7)
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_without_adapters_or_base_there_is_nothing_to_hold_on_to():
    with pytest.raises(InputError, match="give teacher="):
        KLPenalty(batches()).loss(make_llama())
    pissa = get_peft_model(make_llama(), LoraConfig(target_modules="all-linear", init_lora_weights="pissa"))
    with pytest.raises(InputError, match="not its base"):
        KLPenalty(batches()).loss(pissa)


def test_batches_come_in_a_seeded_order_each_once_a_round(monkeypatch):
    def order(seed, rank=0, world=1, draws=6):
        monkeypatch.setattr("retain.train.regularise.shares.rank_and_world", lambda: (rank, world))
        kl_penalty = KLPenalty(batches(6), seed=seed)
        return [kl_penalty._next() for _ in range(draws)]

    assert sorted(order(0)) == list(range(6))
    assert order(0) == order(0)
    assert order(0, draws=12) != [*order(0), *order(0)]
    assert any(order(0) != order(seed) for seed in (1, 2))
    assert order(0, 0, 2) == order(0, 1, 2) == order(0)  # the rows of each are shared out instead


def test_the_callback_adds_its_weighted_gradient_and_goes_on_from_its_memory():
    model, state = moved(make_llama()), TrainerState(stateful_callbacks=[])
    args = SimpleNamespace(fp16=False, bf16=False, deepspeed=None, fsdp=None)
    kl_penalty = KLPenalty(batches(), weight=5.0, limit=1e-4, every=2)
    kl_penalty.on_train_begin(args, state, None, model=model)
    trained = [p for p in model.parameters() if p.requires_grad]
    state.global_step = 1
    kl_penalty.on_step_begin(args, state, None, model=model)
    assert all(p.grad is None for p in trained)
    state.global_step = 2
    expected = torch.autograd.grad(direct(model, kl_penalty.batches[KLPenalty(batches())._next()]), trained)
    kl_penalty.on_step_begin(args, state, None, model=model)
    for parameter, slope in zip(trained, expected, strict=True):
        torch.testing.assert_close(parameter.grad, 5.0 * 2 * slope, rtol=1e-3, atol=1e-5)
    assert kl_penalty.weight > 5.0
    kl_penalty.on_step_end(args, state, None)
    again = KLPenalty(batches(), weight=5.0, limit=1e-4, every=2)
    again.on_train_begin(args, state, None, model=model)
    assert (again.weight, again.smoothed_kl, again.position) == (kl_penalty.weight, kl_penalty.smoothed_kl, 1)
    stranger = KLPenalty(batches(2), weight=5.0, limit=1e-4)
    stranger.on_train_begin(args, state, None, model=model)
    assert stranger.weight == 5.0


def test_the_log_has_the_numbers_in_both_places():
    kl_penalty, state = KLPenalty(batches()), TrainerState(stateful_callbacks=[], global_step=3)
    kl_penalty.note(retain_kl=0.5)
    logs = {"loss": 1.0}
    state.log_history.append({"loss": 1.0, "step": 3})
    kl_penalty.on_log(None, state, None, logs={"eval_loss": 1.0})
    kl_penalty.on_log(None, state, None, logs=logs)
    assert logs["retain_kl"] == state.log_history[-1]["retain_kl"] == 0.5


def test_refusals_say_what_to_do():
    model = moved(make_llama())
    args = SimpleNamespace(fp16=True, bf16=False, deepspeed=None, fsdp=None)
    with pytest.raises(InputError, match="bf16=True or float32"):
        KLPenalty(batches()).on_train_begin(args, TrainerState(stateful_callbacks=[]), None, model=model)
    args = SimpleNamespace(fp16=False, bf16=False, deepspeed="zero.json", fsdp=None)
    with pytest.raises(InputError, match="DDP"):
        KLPenalty(batches()).on_train_begin(args, TrainerState(stateful_callbacks=[]), None, model=model)
    for wrong in ({"weight": 0.0}, {"every": 0}, {"limit": -1.0}):
        with pytest.raises(InputError):
            KLPenalty(batches(), **wrong)
    with pytest.raises(InputError, match="sequence"):
        KLPenalty([])


def test_a_kl_that_is_not_finite_ends_training():
    model = moved(make_llama(), scale=float("nan"))
    with pytest.raises(TrainingError, match="smaller learning rate"):
        KLPenalty(batches()).loss(model)


def test_under_autocast_the_short_way_is_kept():
    model, batch = moved(make_llama()), batches(1)[0]
    divergence = Divergence()
    with torch.autocast("cpu", torch.bfloat16):
        found = divergence(model, batch)
    assert divergence._apart
    torch.testing.assert_close(found, direct(model, batch), rtol=0.1, atol=1e-3)


def test_text_batches_take_of_every_text_a_little():
    tokenizer = make_tokenizer()
    long, short = " ".join("abcdefghij" * 5), "x y z"
    made = text_batches(tokenizer, [long, short], length=8, batch_size=2, limit_tokens=15)
    rows = [
        ids[mask.bool()].tolist()
        for batch in made
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    whole = tokenizer.encode(long)
    assert rows == [whole[:8], tokenizer.encode(short), whole[8:12]]
    assert [len(batch["input_ids"]) for batch in made] == [2, 1]
    with pytest.raises(InputError, match="nothing to hold"):
        text_batches(tokenizer, ["a"])
