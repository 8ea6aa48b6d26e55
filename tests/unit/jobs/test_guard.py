"""A budget for a Trainer of one's own: prepared before training, certified and kept after it."""

import random
import warnings
from importlib.util import find_spec

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaForSequenceClassification, Trainer, TrainingArguments

import retain
from retain.hf.scaling import scaled
from retain.train.regularise.kl_monitor import KLMonitor
from tiny import WORDS, make_llama, make_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore::retain.train.regularise.kl_monitor.RetentionWarning")
TASK = [f"word{i % 30} {WORDS[i % 26]} word1 z z word1" for i in range(16)]
KEEP = [
    {"question": f"word{i % 30} {WORDS[i % 26]} {WORDS[(i * 7) % 26]} is", "choices": ["a", "b"], "answer": i % 2}
    for i in range(60)
]
QUIET = {"drift": False, "generate": 0, "held_out_tokens": 5120, "aa_items": 0}
X = torch.arange(6, 26)[None]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Held-out text of 120 blocks."""
    draw = random.Random(0)  # noqa: S311 -- words of a text, no secret
    blocks = ["".join(f"{draw.choice(WORDS)} " for _ in range(190)) for _ in range(120)]
    path = tmp_path_factory.mktemp("text") / "other.txt"
    path.write_text("\n\n".join(blocks), encoding="utf-8")
    return path


def lively():
    """A tiny Llama with predictions as definite as a trained model's, so that they can move far."""
    model = make_llama()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(1 if "norm" in name else 20 if "lm_head" in name else 5)
    return model


def keep_batches():
    return retain.text_batches(make_tokenizer(), [" ".join(WORDS[:24])] * 12, length=24, batch_size=4)


def trainer(folder, model=None, rows=TASK, rate=2e-3, **more):
    tokenizer = make_tokenizer()
    data = [{"input_ids": (ids := torch.tensor(tokenizer.encode(row))), "labels": ids} for row in rows]
    torch.manual_seed(0)
    model = model or get_peft_model(lively(), LoraConfig(target_modules="all-linear"))
    given = {"max_steps": 25, "learning_rate": rate, "per_device_train_batch_size": 4, "logging_steps": 5}
    given |= {"report_to": [], "disable_tqdm": True, "use_cpu": True, "save_strategy": "no", "bf16": False, **more}
    args = TrainingArguments(output_dir=str(folder), lr_scheduler_type="constant", **given)
    return Trainer(model, args, train_dataset=data, processing_class=tokenizer)


def values(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@torch.no_grad()
def logits(model):
    return model.eval()(X).logits


def test_an_update_that_goes_too_far_is_scaled_back_in_place_and_written(text, tmp_path):
    run = trainer(tmp_path)
    guard = retain.guard(run, budget={"kl": 0.3}, held_out_text=text, kl_weight=None, **QUIET)
    assert [type(one) for one in guard.regularisers] == [KLMonitor]
    blocks = [set("\n\n".join(part.held_out_text.values()).split("\n\n")) for part in guard.parts]
    assert all(blocks)
    assert blocks[0].isdisjoint(blocks[1])
    run.train()
    trained = values(run.model)
    result = guard.finish(tmp_path / "out", show_progress=False)
    alpha = result.scaling.alpha
    assert 0 < alpha < 1
    assert result.budget[0].kept
    assert result.drift.kl_nats_per_token < 0.3
    assert result.curve[-1].step == 25
    scaled_down = logits(run.model)
    now = values(run.model)
    with torch.no_grad():
        for name, parameter in run.model.named_parameters():
            parameter.copy_(trained[name])
    with scaled(run.model, alpha):
        assert torch.equal(logits(run.model), scaled_down)
    assert not torch.equal(logits(run.model), scaled_down)
    assert all(torch.equal(value, now[name]) for name, value in trained.items() if "lora_B" not in name)
    again = retain.load_adapter(lively(), tmp_path / "out" / "adapter")
    assert torch.equal(logits(again), scaled_down)
    assert retain.read_result(tmp_path / "out" / "result.json") == result
    assert guard.finish(show_progress=False) == result  # nothing is looked at twice


def test_a_penalty_aims_below_the_limit_on_text_that_nothing_else_reads(text, tmp_path):
    run = trainer(tmp_path)
    guard = retain.guard(run, budget=retain.Budget(kl=0.1), held_out_text=text, update_limit=0.3, **QUIET)
    assert [type(one).__name__ for one in guard.regularisers] == ["KLPenalty", "UpdateLimit", "KLMonitor"]
    tokenizer = make_tokenizer()
    read = [tokenizer.decode(row) for batch in guard.regularisers[0].batches for row in batch["input_ids"]]
    measured = " ".join(part for side in guard.parts for part in side.held_out_text.values())
    assert len(set(read)) > 20
    assert not any(row[:60] in " ".join(measured.split()) for row in read)
    run.train()
    free = trainer(tmp_path)
    free.train()
    on_evaluation = KLMonitor(retain.text_batches(tokenizer, list(guard.parts.evaluation.held_out_text.values())))
    assert on_evaluation.measure(run.model) < 0.5 * on_evaluation.measure(free.model)


def test_suites_alone_are_limits_too_and_an_sc_lora_is_scaled_without_losing_its_beginning(tmp_path):
    base, (new, *old) = lively(), keep_batches()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", retain.CalibrationWarning)
        model = retain.sc_lora(base, retain.SCLoRAConfig(r=2), learn=[new], keep=old)
    run = trainer(tmp_path, model, rate=1e-2)
    task = [{"prompt": f"{word} b", "completion": " z"} for word in "acd"]
    data = {"keep": {"letters": KEEP}, "test": task, "batches": old}
    guard = retain.guard(run, budget={"letters": 99}, alphas=(0.5,), **data, **QUIET)
    run.train()
    with scaled(run.model, 0.5):
        wanted = logits(run.model)
    result = guard.finish(tmp_path / "out", show_progress=False)
    assert result.scaling.alpha == 0.5
    assert {one.name for one in result.keep} == {"letters"}
    assert result.keep[0].n < len(KEEP)
    assert torch.equal(logits(run.model), wanted)
    assert torch.equal(logits(retain.load_adapter(lively(), tmp_path / "out" / "adapter", trainable=True)), wanted)


def test_what_cannot_be_certified_stays_as_it_was_trained(text, tmp_path):
    run = trainer(tmp_path, rate=2e-2)
    guard = retain.guard(run, budget={"kl": 0.01}, held_out_text=text, kl_weight=None, alphas=(1.0,), **QUIET)
    run.train()
    before = values(run.model)
    with pytest.warns(retain.RetentionWarning, match=r"No interpolation coefficient could be certified.*kl"):
        result = guard.finish(tmp_path / "out", show_progress=False)
    assert result.scaling.alpha == 0
    assert not (tmp_path / "out" / "adapter").exists()
    assert all(torch.equal(value, before[name]) for name, value in values(run.model).items())
    assert any("could be certified" in note for note in result.provenance.notes)


def test_a_model_trained_in_full_is_scaled_towards_its_base(text, tmp_path):
    run = trainer(tmp_path, lively(), max_steps=6)
    with pytest.raises(retain.InputError, match="give base="):
        retain.guard(run, budget={"kl": 0.1}, held_out_text=text)
    guard = retain.guard(run, budget={"kl": 5}, held_out_text=text, base=lively(), alphas=(0.25,), **QUIET)
    run.train()
    trained, base = values(run.model), values(guard.pair.separate_base)
    assert guard.finish(tmp_path / "out", show_progress=False).scaling.alpha == 0.25
    for name, value in values(run.model).items():
        torch.testing.assert_close(value, base[name] + 0.25 * (trained[name] - base[name]))
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()


def test_everything_that_stands_in_the_way_is_said_before_training(text, tmp_path):
    some = text.read_text("utf-8").split("\n\n")
    model = get_peft_model(make_llama(), LoraConfig(target_modules="all-linear", use_dora=True))
    run = trainer(tmp_path, model, rows=[*TASK, *some[:50]])
    run.args.fp16 = True
    with pytest.raises(retain.InputError) as error:
        retain.guard(run, budget={"kl": 0.1, "nothing": 5, "letters": 1}, keep={"letters": KEEP},
                     test=[{"prompt": "a b", "completion": " z"}],
                     held_out_text=text, alphas=(1.0, 0.5), kl_weight="much")  # fmt: skip
    told = " ".join(error.value.problems)
    said = ("no retention suite 'nothing'", "letters:1", "train_dataset: ", "rising", "Dora", "fp16", "kl_weight",
                  "1 test item")  # fmt: skip
    assert [words for words in said if words not in told] == []
    assert len(error.value.problems) >= 8
    assert not [one for one in run.callback_handler.callbacks if type(one).__module__.startswith("retain")]


WRONG = {
    "budget: name at least one": {"budget": {}},
    "limits by name": {"budget": ["kl"]},
    "alphas: give numbers": {"alphas": 0.5},
    "control_share: 1.5": {"control_share": 1.5},
    "there is none": {"kl_weight": 0.5},
    "kl_weight: True": {"kl_weight": True},
    "batches must be": {"batches": keep_batches()[0]},
}


@pytest.mark.parametrize("words", WRONG)
def test_arguments_of_another_kind_are_told(words, tmp_path):
    with pytest.raises(retain.InputError, match=words):
        retain.guard(trainer(tmp_path), **{"budget": {"letters": 99}, "keep": {"letters": KEEP}, **WRONG[words]})


def test_a_second_guard_on_the_same_text_would_act_twice(tmp_path):
    run, data = trainer(tmp_path), {"budget": {"letters": 99}, "keep": {"letters": KEEP}}
    retain.guard(run, **data, batches=iter(keep_batches()))
    with pytest.raises(retain.InputError, match="KLMonitor on the same text already"):
        retain.guard(run, **data, batches=keep_batches())


def test_finish_writes_when_asked_to_and_certifies_once_what_was_trained(tmp_path):
    base = get_peft_model(lively(), LoraConfig(target_modules=["q_proj"]), adapter_name="mine")
    run = trainer(tmp_path, base, max_steps=1)
    guard = retain.guard(run, budget={"letters": 99}, keep={"letters": KEEP}, alphas=(0.5,), **QUIET)
    with pytest.raises(retain.InputError, match="has not trained yet"):
        guard.finish(show_progress=False)
    run.train()
    first = guard.finish(show_progress=False)
    scaled_down, out = logits(run.model), tmp_path / "out"
    second = guard.finish(out, show_progress=False)
    assert (second.scaling, second.budget) == (first.scaling, first.budget)
    assert retain.read_result(out / "result.json") == second
    assert torch.equal(logits(retain.load_adapter(lively(), out / "adapter")), scaled_down)
    guard.result = second.model_copy(update={"scaling": second.scaling.model_copy(update={"alpha": 0})})
    guard.finish(out, show_progress=False)
    assert not (out / "adapter").exists()  # an adapter of before would pass for certified
    run.train()
    with pytest.raises(retain.InputError, match="trained again"):
        guard.finish(out, show_progress=False)


def test_adapters_that_no_folder_can_hold_are_told_before_anything_is_certified(tmp_path):
    model = lively()
    model.add_adapter(LoraConfig(target_modules=["q_proj"]), "mine")
    run = trainer(tmp_path, model, max_steps=1)
    guard = retain.guard(run, budget={"letters": 99}, keep={"letters": KEEP}, alphas=(0.5,), **QUIET)
    run.train()
    with pytest.raises(retain.InputError, match="give no folder"):
        guard.finish(tmp_path / "out", show_progress=False)
    assert guard.result is None
    assert guard.finish(show_progress=False).scaling.alpha == 0.5


def test_what_should_be_gone_is_judged_in_what_the_budget_left_and_asked_in_other_wordings(text, tmp_path):
    run = trainer(tmp_path, max_steps=3, rate=5e-2)
    asked = [
        {"question": f"{a} word{i}", "choices": ["word1 word2", "word2 word1"], "answer": i % 2}
        for i, a in enumerate(WORDS[:26])
    ]
    data = {"budget": {"letters": 99}, "keep": {"letters": KEEP}, "held_out_text": text, "kl_weight": None}
    with pytest.raises(retain.InputError) as error:
        retain.guard(run, **data, gone={"old": [{"question": TASK[0], "choices": ["x", "y"], "answer": 0}]})
    assert "hold what is measured" in error.value.problems[0]
    assert "of the gone suite 'old'" in error.value.problems[0]
    assert "ask in other wordings" in error.value.problems[0]
    with pytest.raises(retain.InputError, match="relearn: asks a language model again what should be gone"):
        retain.guard(run, **data, relearn=2)
    letters = [{**row, "choices": list(WORDS[:20]), "answer": i % 20} for i, row in enumerate(asked)]
    with pytest.raises(retain.InputError, match="an old answer stands in each of the"):
        retain.guard(run, **data, gone={"old": letters}, relearn=2)
    guard = retain.guard(run, **data, gone={"old": asked}, relearn=2, alphas=(1.0,), **QUIET)
    run.train()
    trained = logits(run.model)
    result = guard.finish(tmp_path / "out", show_progress=False)
    assert result.judgement.gone[0].suite == "old"
    assert result.gone[0].relearned.steps == 2
    assert torch.equal(logits(run.model), trained)  # relearning left the model as it was
    assert "What should be gone" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("missing", ["reader", "text"])
def test_what_is_missing_is_named(missing, text, tmp_path):
    run = trainer(tmp_path)
    if missing == "reader":
        run.processing_class = None
    words = "processing_class" if missing == "reader" else "measured on held-out text"
    with pytest.raises(retain.InputError, match=words):
        retain.guard(run, budget={"kl": 0.1}, held_out_text=text if missing == "reader" else None)


def test_tokens_that_no_certificate_can_rest_on_are_refused(text, tmp_path):
    for job in (
        lambda **given: retain.guard(trainer(tmp_path), **given),
        lambda **given: retain.scale(trainer(tmp_path).model, tokenizer=make_tokenizer(), **given),
    ):
        with pytest.raises(retain.InputError, match=r"held_out_tokens=2048 reads 16 control blocks.*give 2304 or more"):
            job(budget=retain.Budget(kl=0.1), held_out_text=text, held_out_tokens=2048)


def test_a_reward_model_cannot_be_held_to_a_kl(text, tmp_path):
    config = make_llama().config.to_dict() | {"num_labels": 1}
    rewards = LlamaForSequenceClassification(make_llama().config.__class__(**config))
    model = get_peft_model(rewards, LoraConfig(target_modules="all-linear", task_type="SEQ_CLS"))
    with pytest.raises(retain.InputError, match="predicted token by token"):
        retain.guard(trainer(tmp_path, model), budget={"kl": 0.1}, held_out_text=text)


@pytest.mark.skipif(find_spec("trl") is None, reason="trl is not installed")
def test_a_trainer_of_trl_with_a_reference_adapter_is_guarded(text, tmp_path):
    import trl_runs

    run = trl_runs.trainer("dpo", "sc-lora", tmp_path)
    guard = retain.guard(run, budget={"kl": 0.1}, held_out_text=text, alphas=(0.5,), **QUIET)
    run.train()
    ref = {name: value for name, value in values(run.model).items() if ".ref." in name}
    assert guard.finish(show_progress=False).scaling.alpha == 0.5
    assert ref
    assert all(torch.equal(value, values(run.model)[name]) for name, value in ref.items())
