"""Distillation: the numbers of related work's oracles, the loss beside one made by hand, what it needs and refuses."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy, kl_div
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from retain.errors import InputError
from retain.kernels.kl_divergence import chunked_kl, logits_kl
from retain.train.loop import PadCollator
from retain.train.regularise.distillation import Distillation, TeacherLogits, row_keys
from retain.train.regularise.kl_penalty import KLPenalty
from tiny import make_llama

STUDENT, TEACHER = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([[1.0, 1.0, -1.0]])
ROWS = [{"input_ids": [7, 9 + i, 11, 12, 3], "labels": [-100, -100, 11 + i, 12, 3]} for i in range(8)]


def classifier(seed=0, labels=3, hidden=32):
    torch.manual_seed(seed)
    sizes = {"hidden_size": hidden, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    config = BertConfig(
        **sizes, vocab_size=64, num_labels=labels, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    return BertForSequenceClassification(config).eval()


def trainer(model, rows, folder, collator=None, **more):
    given = {"max_steps": 3, "per_device_train_batch_size": 2, "report_to": [], "logging_steps": 1, "use_cpu": True}
    given |= {"disable_tqdm": True, "save_strategy": "no", "learning_rate": 1e-2, "weight_decay": 0.0}
    return Trainer(
        model,
        TrainingArguments(output_dir=str(folder), **given | more),
        train_dataset=rows,
        data_collator=collator or PadCollator(0),
    )


def adapted(model, seed=2):
    model = get_peft_model(model, LoraConfig(target_modules="all-linear"))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize(("temperature", "expected"), [(1.0, 0.41122), (2.0, 0.40950), (100.0, 0.33555)])
def test_the_soft_loss_of_known_logits(temperature, expected):
    """Numbers of Python's decimals to 50 digits; as T grows the loss goes to ‖centred difference‖²/(2·3) = 1/3."""
    student = STUDENT.double().requires_grad_()
    loss = logits_kl(TEACHER.double(), student, temperature=temperature)
    assert loss.item() == pytest.approx(expected, abs=5e-6)
    loss.backward()
    if temperature == 100:
        assert student.grad[0].tolist() == pytest.approx([1 / 3, -1 / 3, 0], abs=5e-3)
    identity = torch.eye(3, dtype=torch.float64)  # heads that only copy, so that hidden states are the logits
    chunked = chunked_kl(TEACHER.double(), student, identity, mask=torch.ones(1), temperature=temperature, chunk=2)
    torch.testing.assert_close(chunked, loss)


@pytest.mark.parametrize("temperature", [1.0, 3.0, 50.0])
def test_equal_logits_cost_nothing(temperature):
    student = STUDENT.clone().requires_grad_()
    loss = logits_kl(STUDENT, student, temperature=temperature)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert student.grad.abs().max() < 1e-6


def test_the_chunked_kl_has_a_temperature_with_its_gradient_and_biases():
    generator = torch.Generator().manual_seed(0)
    weight, own = (torch.randn(11, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    bias, other = (torch.randn(11, generator=generator, dtype=torch.float64) for _ in range(2))
    before, after = (torch.randn(5, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    given = [part.clone().requires_grad_() for part in (after, weight, bias)]
    expected = logits_kl(before @ own.T + other, given[0] @ given[1].T + given[2], temperature=2.5)
    slopes = torch.autograd.grad(expected, given)
    found = chunked_kl(
        before, given[0], given[1], given[2], mask=torch.ones(5), chunk=4, teacher_weight=own, teacher_bias=other,
        temperature=2.5,
    )  # fmt: skip
    torch.testing.assert_close(found, expected)
    for mine, theirs in zip(torch.autograd.grad(found, given), slopes, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_language_model_is_compared_where_it_learns(tmp_path):
    model, teacher = adapted(make_llama()), make_llama(seed=5)
    batch = PadCollator(0)(ROWS[:2])
    logits = model(**{name: value for name, value in batch.items() if name != "labels"}).logits
    with torch.no_grad():
        theirs = teacher(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    learned = batch["labels"][:, 1:] != -100
    by_hand = 4 * kl_div(
        (logits[:, :-1][learned] / 2).log_softmax(-1), (theirs[:, :-1][learned] / 2).softmax(-1), reduction="batchmean"
    )
    distillation = Distillation(teacher, weight=0.3, task_weight=0.7, temperature=2.0)
    kl, positions = distillation.loss(model, batch, logits)
    assert positions == 6
    torch.testing.assert_close(kl, by_hand, rtol=1e-5, atol=1e-6)
    task = cross_entropy(logits[:, :-1][learned], batch["labels"][:, 1:][learned])
    run = trainer(model, ROWS, tmp_path)
    distillation.attach(run)
    items = torch.tensor(6)
    total = run.compute_loss(model.train(), dict(batch), num_items_in_batch=items)
    torch.testing.assert_close(total, 0.7 * task + 0.3 * by_hand, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(run.compute_loss(model.eval(), dict(batch)), task, rtol=1e-5, atol=1e-6)


def test_accumulated_micro_batches_count_as_one_batch(tmp_path):
    """Rows with different numbers of learned tokens; one step of 4 rows is 4 micro-batches of one."""
    uneven = [{"input_ids": row["input_ids"], "labels": [-100] * (1 + i % 3) + row["labels"][1 + i % 3 :]}
              for i, row in enumerate(ROWS[:4])]  # fmt: skip
    found = []
    for size, accumulation in ((4, 1), (1, 4)):
        model = adapted(make_llama())
        run = trainer(
            model, uneven, tmp_path, max_steps=1, per_device_train_batch_size=size, optim="sgd",
            gradient_accumulation_steps=accumulation, max_grad_norm=0.0,
        )  # fmt: skip
        Distillation(make_llama(seed=5), weight=0.5, task_weight=0.5, temperature=2.0).attach(run)
        run.train()
        numbers = [entry["retain_penalty_kl"] for entry in run.state.log_history if "retain_penalty_kl" in entry]
        found.append((numbers, [p.detach().clone() for p in model.parameters() if p.requires_grad]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_without_a_teacher_it_is_the_base_on_what_is_learned(tmp_path):
    model = adapted(make_llama())
    run = trainer(model, ROWS, tmp_path, max_steps=12)
    before = Distillation().loss(model, (batch := PadCollator(0)(ROWS[:2])), model(**batch).logits)[0].item()
    distillation = Distillation(task_weight=0.0).attach(run)
    run.train()
    after = distillation.loss(model.eval(), batch, model(**batch).logits)[0].item()
    assert after < 0.5 * before
    assert all(entry["retain_penalty_kl"] >= 0 for entry in run.state.log_history if "retain_penalty_kl" in entry)


def classes(rows):
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row["ids"]) for row in rows], batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(row["ids"])) for row in rows], batch_first=True).long()
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([row["label"] for row in rows])}


ITEMS = [{"ids": [5, 6 + i, *[7] * (i % 3)], "label": i % 3} for i in range(10)]


def cached(teacher, items):
    with torch.no_grad():
        logits = torch.cat([teacher(**classes([item])).logits for item in items])
    return TeacherLogits([key for item in items for key in row_keys(classes([item]))], logits)


def test_cached_logits_follow_their_rows_in_any_order_and_padding():
    """The published script of KD-LoRA takes the same row of logits for every batch."""
    teacher, student = classifier(seed=4, hidden=16), classifier()
    shuffled = [ITEMS[i] for i in torch.randperm(10, generator=torch.Generator().manual_seed(0)).tolist()]
    live = Distillation(teacher, temperature=2.0)
    for held in (cached(teacher, ITEMS), cached(teacher, shuffled)):
        for part in (ITEMS[:4], shuffled[3:9], ITEMS[9:]):
            batch = classes(part)
            logits = student(**batch).logits
            kept, count = Distillation(held, temperature=2.0).loss(student, batch, logits)
            torch.testing.assert_close(kept, live.loss(student, batch, logits)[0], rtol=1e-4, atol=1e-7)
            assert count == len(part)
    with pytest.raises(InputError, match="2 of the 2 rows of a batch are none that its logits were computed for"):
        cached(teacher, ITEMS[:8]).of({k: v for k, v in classes(ITEMS[8:]).items() if k != "labels"})
    with pytest.raises(InputError, match="one row for each item"):
        TeacherLogits(["a"], torch.zeros(2, 3))


def test_a_classifier_learns_from_cached_logits_alone_with_all_its_weights(tmp_path):
    teacher, student = classifier(seed=4), classifier()
    run = trainer(
        student, ITEMS, tmp_path, classes, max_steps=30, remove_unused_columns=False, per_device_train_batch_size=5
    )
    distillation = Distillation(cached(teacher, ITEMS), task_weight=0.0).attach(run)
    run.train()
    batch = classes(ITEMS)
    with torch.no_grad():
        far = distillation.loss(student.eval(), batch, student(**batch).logits)[0].item()
        start = distillation.loss(student, batch, classifier()(**batch).logits)[0].item()
    assert far < 0.3 * start


def test_a_penalty_on_text_to_keep_takes_another_teacher_a_temperature_and_a_weight_of_the_task(tmp_path):
    model, teacher = adapted(make_llama()), make_llama(seed=5)
    batch = {"input_ids": torch.arange(6, 26)[None], "attention_mask": torch.ones(1, 20, dtype=torch.int64)}
    penalty = KLPenalty([batch], teacher=teacher, temperature=2.0, task_weight=0.25, weight=0.5)
    with torch.no_grad():
        theirs, mine = teacher(**batch).logits, model.eval()(**batch).logits
    torch.testing.assert_close(
        penalty.loss(model).detach(), logits_kl(theirs, mine, temperature=2.0), rtol=1e-4, atol=1e-6
    )
    run = trainer(model, ROWS, tmp_path)
    given = PadCollator(0)(ROWS[:2])
    plain = run.compute_loss(model.train(), dict(given))
    penalty.attach(run)
    torch.testing.assert_close(run.compute_loss(model, dict(given)), 0.25 * plain)


def test_padded_vocabularies_are_compared_over_the_tokens_that_both_have():
    model, teacher = adapted(make_llama()), make_llama(seed=5, vocabulary=96)
    batch = PadCollator(0)(ROWS[:2])
    logits = model(**batch).logits
    with torch.no_grad():
        theirs = teacher(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    learned = batch["labels"][:, 1:] != -100
    expected = logits_kl(theirs[learned][:, :66], logits[:, :-1][learned][:, :66])
    found, _ = Distillation(teacher, vocabulary=66).loss(model, batch, logits)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    keep = {name: batch[name] for name in ("input_ids", "attention_mask")}
    assert KLPenalty([keep], teacher=teacher, vocabulary=66).loss(model).isfinite()
    with pytest.raises(InputError, match="different vocabularies"):
        Distillation(teacher).loss(model, batch, logits)


def test_what_cannot_be_is_refused(tmp_path):
    for given in ({"weight": 0.0}, {"task_weight": -1.0}, {"temperature": 0.0}, {"temperature": float("inf")}):
        with pytest.raises(InputError, match=next(iter(given))):
            Distillation(**given)
    run = trainer(make_llama(), ROWS, tmp_path)
    Distillation().attach(run)
    with pytest.raises(InputError, match="no adapters, so it cannot also be its own base"):
        run.train()
    run = trainer(adapted(make_llama()), ROWS, tmp_path)
    run.add_callback(Distillation())
    with pytest.raises(InputError, match=r"Distillation\(…\)\.attach\(trainer\)"):
        run.train()
    run = trainer(adapted(make_llama()), ROWS, tmp_path)
    Distillation().attach(run)
    with pytest.raises(InputError, match="act twice"):
        Distillation().attach(run)
    with pytest.raises(InputError, match="have no logits"):
        Distillation(make_llama()).term(make_llama(), PadCollator(0)(ROWS), lambda _: (0, {}), lambda kl, _: kl)


@pytest.mark.parametrize("value", ["2", None, True])
@pytest.mark.parametrize("name", ["weight", "task_weight", "temperature"])
def test_settings_of_another_kind_are_named(name, value):
    for make in (Distillation, lambda **given: KLPenalty([PadCollator(0)(ROWS[:1])], **given)):
        with pytest.raises(InputError, match=f"^{name}: {value!r}; it must be"):
            make(**{name: value})


@pytest.mark.parametrize(("teacher", "told"), [("runs/large", "teacher: a str"), ([1, 2], "teacher: a list")])
def test_what_is_no_model_is_no_teacher(teacher, told):
    with pytest.raises(InputError, match=told):
        Distillation(teacher)
    with pytest.raises(InputError, match=told):
        KLPenalty([PadCollator(0)(ROWS[:1])], teacher=teacher)


def test_cached_logits_that_do_not_fit_are_refused():
    for logits, found in (([[1.0, 2.0]], "type list"), (torch.zeros(1), r"the shape \(1,\)")):
        with pytest.raises(InputError, match=f"1 items and logits of {found}"):
            TeacherLogits(["one"], logits)
    batch = PadCollator(0)(ROWS[:2])
    keys = row_keys({name: value for name, value in batch.items() if name != "labels"})
    of_items = Distillation(TeacherLogits(keys, torch.zeros(2, 70)))
    model = make_llama()
    with pytest.raises(InputError, match="one row an item, as a classifier's"):
        of_items.loss(model, batch, model(input_ids=batch["input_ids"]).logits)
