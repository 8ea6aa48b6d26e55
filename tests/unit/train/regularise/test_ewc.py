"""The EWC penalty: against autograd on dense changes, at its limits, and in a Trainer."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from test_fisher import Softmax
from test_kl_penalty import batches, moved
from transformers import Trainer, TrainerState, TrainingArguments

from retain import LoRFAConfig, SCLoRAConfig, VeFAConfig, sc_lora
from retain.errors import InputError, TrainingError
from retain.hf.models.updates import weight_updates
from retain.train.regularise.ewc import EWC, ewc_penalty
from retain.train.regularise.fisher import Fisher, fisher_diagonal
from retain.train.regularise.kl_penalty import KLPenalty
from tiny import make_llama

ALL = "all-linear"
ADAPTERS = [
    LoraConfig(target_modules=ALL, lora_dropout=0.3),
    VeFAConfig(target_modules=ALL),
    LoRFAConfig(target_modules=ALL),
]
ARGS = SimpleNamespace(fp16=False, bf16=False, deepspeed=None, fsdp=None)


def some_fisher(model, seed=0):
    """F drawn at random, half of it zero, with the names and shapes of a model's layers."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {u.module.removeprefix("base_model.model."): u.delta.shape for u in weight_updates(model)}
    return Fisher({name: torch.randn(shape, generator=generator).relu() for name, shape in shapes.items()}, 1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 6), st.floats(-30, 30), st.sampled_from([1, 2, 3]))
def test_it_is_half_the_weighted_square_whatever_the_change(seed, rows, columns, scale, rank):
    draw = torch.Generator().manual_seed(seed)
    B, A, F = (
        torch.randn(*shape, generator=draw, dtype=torch.float64)
        for shape in ((rows, rank), (rank, columns), (rows, columns))
    )
    F = F.abs()
    B.requires_grad_()
    penalty = ewc_penalty(scale * (B @ A), F)
    by_hand = sum(
        float(F[i, j]) * (scale * float(B[i].detach() @ A[:, j])) ** 2 / 2 for i in range(rows) for j in range(columns)
    )
    assert float(penalty) == pytest.approx(by_hand, rel=1e-9, abs=1e-12)
    assert float(penalty) >= 0
    (slope,) = torch.autograd.grad(penalty, B)
    torch.testing.assert_close(slope, scale**2 * (F * (B @ A)) @ A.T, rtol=1e-9, atol=1e-9)  # by hand, chain rule


@pytest.mark.parametrize("config", ADAPTERS, ids=["lora", "vefa", "lorfa"])
def test_loss_and_gradient_are_those_of_the_merged_change(config):
    model = moved(make_llama(), config).train()
    fisher = some_fisher(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    found = EWC(fisher).loss(model)
    merged = {u.module.removeprefix("base_model.model."): u.delta for u in weight_updates(model)}
    expected = sum(float((fisher.diagonal[name] * delta.square()).sum()) / 2 for name, delta in merged.items())
    assert expected > 0.01
    assert float(found.detach()) == pytest.approx(expected, rel=1e-4)
    slopes = torch.autograd.grad(found, trained)
    generator = torch.Generator().manual_seed(9)
    direction = [torch.randn(p.shape, generator=generator) for p in trained]
    along = sum(float((one * way).sum()) for one, way in zip(slopes, direction, strict=True))
    losses = []
    for step in (1e-3, -2e-3):  # central differences of the merged change
        with torch.no_grad():
            for p, way in zip(trained, direction, strict=True):
                p.add_(way, alpha=step)
        delta = {u.module.removeprefix("base_model.model."): u.delta.double() for u in weight_updates(model)}
        losses.append(sum(float((fisher.diagonal[name] * d.square()).sum()) / 2 for name, d in delta.items()))
    assert along == pytest.approx((losses[0] - losses[1]) / 2e-3, rel=2e-2)


def test_at_initialisation_penalty_and_gradient_are_zero():
    models = [get_peft_model(make_llama(), config) for config in ADAPTERS]
    models.append(sc_lora(make_llama(), SCLoRAConfig(r=2, initialisation="milora")))
    for model in models:
        loss = EWC(some_fisher(model)).loss(model)
        trained = [p for p in model.parameters() if p.requires_grad]
        assert float(loss.detach()) == 0
        assert all(float(slope.abs().max()) == 0 for slope in torch.autograd.grad(loss, trained))


def test_it_is_near_the_kl_that_it_approximates():
    model, texts = moved(make_llama(), scale=0.03), batches(12)
    penalty = EWC(fisher_diagonal(model, texts)).loss(model)
    kl = KLPenalty(texts)
    mean = sum(float(kl.loss(model).detach()) for _ in texts) / len(texts)
    assert float(penalty.detach()) == pytest.approx(mean, rel=0.25)  # the diagonal alone, and labels that were drawn


def test_a_large_weight_keeps_what_fisher_marks_and_lets_the_rest_learn():
    torch.manual_seed(0)
    model = Softmax()
    teacher = Softmax()
    teacher.load_state_dict(model.state_dict())
    marks = torch.zeros(3, 4, dtype=torch.float64)
    marks[0] = 1.0
    penalty = EWC(Fisher({"head.weight": marks}, 1), weight=1e3, teacher=teacher)
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.arange(8) % 3
    for _ in range(100):
        loss = torch.nn.functional.cross_entropy(model(x).logits, labels) + penalty.weight * penalty.loss(model)
        (slope,) = torch.autograd.grad(loss, model.head.weight)
        with torch.no_grad():
            model.head.weight.sub_(slope, alpha=1e-3)
    moves = (model.head.weight - teacher.head.weight).detach().norm(dim=1)
    assert moves[0] < 0.02 * moves[1:].min()
    assert moves[1:].min() > 0.003


def test_full_fine_tuning_counts_from_a_teacher_all_that_it_trains():
    model, teacher = make_llama().requires_grad_(), make_llama()
    fisher = fisher_diagonal(model, batches(2), teacher=teacher, dtype=torch.float32)
    penalty = EWC(fisher, teacher=teacher)
    assert float(penalty.loss(model).detach()) == 0
    with torch.no_grad():
        model.model.norm.weight.add_(0.1)
        model.lm_head.weight.add_(0.01)
    by_hand = fisher.diagonal["model.norm.weight"].sum() * 0.01 / 2 + fisher.diagonal["lm_head.weight"].sum() * 1e-4 / 2
    torch.testing.assert_close(penalty.loss(model).detach(), by_hand, rtol=1e-3, atol=0)


def test_an_initialisation_that_rewrote_the_base_counts_from_its_teacher():
    model = moved(make_llama(), LoraConfig(target_modules=ALL, init_lora_weights="pissa"), scale=0.0)
    with pytest.raises(InputError, match="not its base"):
        EWC(some_fisher(model)).loss(model)
    penalty = EWC(some_fisher(model), teacher=make_llama())
    assert float(penalty.loss(model).detach()) < 1e-9  # rounding; W_res + s·B A is W0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_callback_adds_its_weighted_gradient_under_autocast_too(dtype):
    model = moved(make_llama().to(dtype))
    fisher = some_fisher(model)
    expected = torch.autograd.grad(
        EWC(fisher).loss(model), trained := [p for p in model.parameters() if p.requires_grad]
    )
    state = TrainerState(stateful_callbacks=[])
    penalty = EWC(fisher, weight=5.0)
    args = SimpleNamespace(**{**vars(ARGS), "bf16": True})
    penalty.on_train_begin(args, state, None, model=model)
    with torch.autocast("cpu", torch.bfloat16):
        penalty.on_step_begin(args, state, None, model=model)
    for parameter, slope in zip(trained, expected, strict=True):
        torch.testing.assert_close(parameter.grad, 5.0 * slope, rtol=1e-5, atol=1e-7)


def test_a_trainer_with_it_learns_and_logs_and_stays_nearer(tmp_path):
    def train(*callbacks):
        torch.manual_seed(0)
        model = get_peft_model(make_llama(), LoraConfig(target_modules=ALL))
        rows = [{"input_ids": ids, "labels": ids} for ids in torch.arange(6, 54).reshape(8, 6)]
        chosen = {"max_steps": 12, "learning_rate": 2e-2, "logging_steps": 4, "report_to": [], "use_cpu": True}
        args = TrainingArguments(output_dir=str(tmp_path), save_strategy="no", disable_tqdm=True, bf16=False, **chosen)
        trainer = Trainer(model, args, train_dataset=rows)
        for callback in callbacks:
            callback.attach(trainer)
        trainer.train()
        return model, trainer.state.log_history

    free, _ = train()
    fisher = fisher_diagonal(free, batches(4))  # of the base, whatever the adapter has become
    held, history = train(EWC(fisher, weight=1e3))
    logged = [entry["retain_penalty_ewc"] for entry in history if "loss" in entry]
    assert len(logged) == 3
    assert 0 < logged[-1] < 0.1 * float(EWC(fisher).loss(free).detach())
    assert float(EWC(fisher).loss(held).detach()) < 0.1 * float(EWC(fisher).loss(free).detach())
    with pytest.raises(InputError, match="act twice"):
        train(EWC(fisher), EWC(fisher))


def test_refusals_say_what_to_do():
    model, state = moved(make_llama()), TrainerState(stateful_callbacks=[])
    fisher = some_fisher(model)
    for changed, words in (({"fp16": True}, "bf16=True"), ({"deepspeed": "zero.json"}, "DDP"), ({"fsdp": "x"}, "DDP")):
        with pytest.raises(InputError, match=words):
            EWC(fisher).on_train_begin(SimpleNamespace(**{**vars(ARGS), **changed}), state, None, model=model)
    for weight in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(InputError, match="above 0"):
            EWC(fisher, weight=weight)
    other = moved(make_llama(), LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(InputError, match="fisher_diagonal"):
        EWC(some_fisher(other)).on_train_begin(ARGS, state, None, model=model)
    prompts = get_peft_model(make_llama(), PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"))
    with pytest.raises(InputError, match="changes no weights"):
        EWC(fisher).on_train_begin(ARGS, state, None, model=prompts)
    model.merge_adapter()
    with pytest.raises(InputError, match="unmerge_adapter"):
        EWC(fisher).loss(model)
    diverged = moved(make_llama(), scale=float("nan"))
    with pytest.raises(TrainingError, match="smaller learning rate"):
        EWC(fisher).loss(diverged)
