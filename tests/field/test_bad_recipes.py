"""Recipes with mistakes: `retain check` says each in one sentence that names the field, and never a traceback."""

from __future__ import annotations

import re

import pytest
import yaml

from retain.cli.main import main

JARGON = re.compile(r"Traceback|Input should|pydantic|tuple\[|type=|Error:|__init__|NoneType")


@pytest.fixture
def told(tiny_folder, tiny_data, tmp_path, capsys):
    """What check says of a recipe with some fields changed: its exit code, and all that it printed."""

    def run(changes, verb="check", text=None, more=()):
        fields = {
            "model": str(tiny_folder),
            "train": str(tiny_data / "train.jsonl"),
            "test": str(tiny_data / "test.jsonl"),
            "output": str(tmp_path / "run"),
            "method": {"name": "lora"},
            **changes,
        }
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(yaml.safe_dump(fields) if text is None else text, encoding="utf-8")
        code = main([verb, str(recipe), *more])
        printed = capsys.readouterr()
        said = " ".join((printed.out + printed.err).split())
        assert not JARGON.search(said), said
        assert not (tmp_path / "run").exists()
        return code, said

    return run


LAUGHS = "".join(
    [
        "a: &a [x, x, x, x, x, x, x, x, x]\n",
        *(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "keep: *i\n",
    ]
)
LORA = {"name": "lora"}
REFUSED = [
    # numbers that are none, or not finite, wherever a number stands
    ({"learning_rate": float("inf")}, "learning_rate: expected a finite number"),
    ({"learning_rate": float("nan")}, "learning_rate: expected"),
    ({"learning_rate": -1}, "learning_rate: expected a number above 0"),
    ({"learning_rate": True}, "learning_rate: expected a number"),
    ({"learning_rates": [float("nan")]}, "learning_rates"),
    ({"learning_rates": [1e-3, float("inf")]}, "learning_rates"),
    ({"learning_rates": [1e-3, 1e-3]}, "learning_rates: 0.001 is there twice"),
    ({"epochs": float("inf")}, "epochs: expected a finite number"),
    ({"epochs": 1e999}, "epochs: expected a finite number"),
    ({"epochs": "many"}, "epochs: expected a number (found 'many')"),
    ({"max_steps": True}, "max_steps: expected a number (found true)"),
    ({"max_steps": 2.5}, "max_steps: expected a whole number"),
    ({"batch_size": [8]}, "batch_size: expected a whole number"),
    ({"rank": 0}, "rank: expected a number above 0"),
    ({"margin": float("nan")}, "margin"),
    ({"smallest_gain": -1}, "smallest_gain: expected a number of 0 or more"),
    ({"replay": 1}, "replay: expected a number below 1"),
    ({"replay": float("nan")}, "replay"),
    ({"update_limit": float("inf")}, "update_limit: expected a finite number"),
    ({"kl_weight": -1}, "kl_weight: expected a number of 0 or more, or budget"),
    ({"kl_weight": float("nan")}, "kl_weight"),
    ({"kl_weight": "much"}, "kl_weight"),
    ({"seed": 2**40}, "seed: expected a number of 4.29497e+09 or less"),
    ({"seed": -1}, "seed: expected a number of 0 or more"),
    ({"seeds": [-1]}, "seeds: expected whole numbers from 0 to 4294967295"),
    ({"seeds": [2**40]}, "seeds: expected whole numbers"),
    ({"seed": 2**32 - 1, "seeds": 2}, "seeds: expected whole numbers"),
    ({"seeds": [1, 1]}, "seeds: 1 is there twice"),
    # names and places
    ({"output": ""}, "output: expected a name"),
    ({"output": "  "}, "output: expected a name"),
    ({"output": "a\0b"}, "output: expected text without the character NUL"),
    ({"train": "a\0b"}, "train: expected text without the character NUL"),
    ({"keep": ["a\0b"]}, "keep: expected text without the character NUL"),
    ({"output": "/proc/retain-out"}, "nothing can be written into /proc"),
    ({"output": "/dev/null/x"}, "output"),
    ({"output": "x" * 300}, "output"),
    ({"statistics": "/nope"}, "statistics: there is no folder /nope"),
    # fields that do not exist
    ({"learning_rte": 1}, "learning_rte: is no field of a recipe; did you mean learning_rate"),
    ({"batchsize": 1}, "did you mean batch_size"),
    ({"zzz": 1}, "zzz: is no field of a recipe; known are"),
    ({"method": {"name": "lora", "lora_alfa": 8}}, "did you mean lora_alpha"),
    ({"method": "lorra"}, "lorra"),
    ({"methods": ["lora", "lora"]}, "methods: lora is there twice"),
    ({"methods": [{"name": "lora", "r": 2}, {"r": 2, "name": "lora"}]}, "is there twice"),
    # a method's own fields
    ({"method": {**LORA, "lora_alpha": "big"}}, "lora_alpha: expected a finite number above 0 (found 'big')"),
    ({"method": {**LORA, "lora_alpha": float("nan")}}, "lora_alpha: expected a finite number"),
    ({"method": {**LORA, "lora_alpha": 0}}, "lora_alpha: expected a finite number above 0"),
    ({"method": {**LORA, "lora_dropout": -1}}, "lora_dropout: expected a number from 0 up to"),
    ({"method": {**LORA, "lora_dropout": 1.5}}, "lora_dropout"),
    ({"method": {"name": "lorfa", "lorfa_dropout": "x"}}, "lorfa_dropout: expected a finite number"),
    ({"method": {"name": "sc-lora", "lora_alpha": "big"}}, "lora_alpha"),
    ({"method": {**LORA, "r": "eight"}}, "r: expected a whole number (found 'eight')"),
    ({"method": {**LORA, "r": True}}, "r: expected a whole number"),
    ({"method": {**LORA, "target_modules": "(["}}, "target_modules: '([' is no regular expression"),
    ({"method": {"name": "vefa", "target_modules": "(["}}, "target_modules: '([' is no regular expression"),
    ({"method": {**LORA, "exclude_modules": "*a"}}, "exclude_modules: '*a' is no regular expression"),
    ({"method": {**LORA, "rank_pattern": {"([": 2}}}, "rank_pattern"),
    ({"method": {**LORA, "rank_pattern": {"nope": 2}}}, "its rank_pattern names nope, which this adapter"),
    ({"method": {**LORA, "alpha_pattern": {"lm_head": 2}}}, "its alpha_pattern names lm_head"),
    ({"method": {**LORA, "task_type": "SEQ_CLS"}}, "task_type: LlamaForCausalLM is CAUSAL_LM (found 'SEQ_CLS')"),
    ({"method": {**LORA, "target_modules": ["q_proj", "nope"]}}, "no module of the model is named 'nope'"),
    ({"method": {"name": "vefa", "target_modules": ["q_prj", "v_proj"]}}, "did you mean q_proj"),
    ({"method": {**LORA, "target_modules": "q_proj, foo_proj"}}, "no module of the model is named 'foo_proj'"),
    ({"method": {**LORA, "target_modules": "(q|v)_proj"}}, r"fits '(q|v)_proj'; a pattern of its end begins with .*"),
    ({"method": {"name": "vefa", "target_modules": "q_prj"}}, "named 'q_prj'; did you mean q_proj"),
    ({"methods": [{**LORA, "exclude_modules": "lm_haed"}, "vefa"]}, "exclude_modules: no module of the model is named"),
    ({"method": {**LORA, "modules_to_save": ["head"]}}, "modules_to_save: no module of the model is named 'head'"),
    ({"method": {**LORA, "target_modules": 3}}, "target_modules: expected"),
    # the Trainer's settings
    ({"training": {"max_grad_norm": "a"}}, "training.max_grad_norm: expected a finite number (found 'a')"),
    ({"training": {"max_grad_norm": float("nan")}}, "training.max_grad_norm: expected a finite number"),
    ({"training": {"max_grad_norm": -1}}, "training.max_grad_norm: expected a number of 0 or more"),
    ({"training": {"weight_decay": "x"}}, "training.weight_decay: expected a finite number"),
    ({"training": {"weight_decay": True}}, "training.weight_decay: expected a finite number"),
    ({"training": {"dataloader_num_workers": -1}}, "training.dataloader_num_workers: expected a number of 0 or more"),
    ({"training": {"dataloader_prefetch_factor": 2}}, "prefetch"),
    ({"training": {"adam_beta1": 1.5}}, "training.adam_beta1: expected a number from 0 to 1"),
    ({"training": {"gradient_accumulation_steps": 0}}, "training.gradient_accumulation_steps"),
    ({"training": {"optim": "adamw_nope"}}, "training.optim: expected adamw_"),
    ({"training": {"lr_scheduler_type": "sideways"}}, "training.lr_scheduler_type: expected linear, cosine"),
    ({"training": {"gradient_checkpointing": "maybe"}}, "training.gradient_checkpointing: expected true or false"),
    ({"training": {"load_best_model_at_end": True}}, "training.load_best_model_at_end: nothing is measured while"),
    ({"training": {"resume_from_checkpoint": "x"}}, "training.resume_from_checkpoint: the same command goes on"),
    ({"training": {"save_only_model": True}}, "training.save_only_model: retain takes checkpoints by itself"),
    ({"training": {"group_by_length": True}}, "say --training.train_sampling_strategy group_by_length"),
    ({"training": {"warmup_ratio": 0.1}}, "say --training.warmup_steps"),
    ({"training": {"weight_dcay": 0.1}}, "did you mean weight_decay"),
    ({"training": {"max_steps": 3}}, "training.max_steps: say --max-steps"),
    ({"training": "fast"}, "training: expected fields with values"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "sentence"), REFUSED, ids=[f"{n}-{[*c]}" for n, (c, _) in enumerate(REFUSED)])
def test_a_mistake_is_told_before_anything_is_done(told, changes, sentence):
    code, said = told(changes)
    assert sentence in said
    assert code == 2


def test_half_precision_without_an_accelerator_is_refused(told, monkeypatch):
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    code, said = told({"training": {"fp16": True}})
    assert (code, "training.fp16: needs an accelerator" in said) == (2, True)


def test_all_mistakes_are_told_at_once(told):
    code, said = told({"learning_rte": 1, "epochs": float("inf"), "seed": -1, "kl_weight": -1})
    assert code == 2
    assert "4 problems" in said


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model: m\nmodel: n\n", "model stands there twice"),
        ("model: m\ntraining: {bf16: true, bf16: false}\n", "bf16 stands there twice"),
        (LAUGHS, "aliases"),
        ("keep: " + "[" * 3000 + "]" * 3000, "levels deep"),
        ("seed: " + "1" * 5000, "5000 digits"),
        ("model: !!python/object/apply:os.system [ls]\n", "no YAML that can be used"),
        ("seed: 2026-11-28\n", "seed: expected a whole number (found '2026-11-28')"),
        ("max_steps: 1:30\n", "max_steps: expected a whole number (found '1:30')"),
        ("- a\n- b\n", "a recipe is a mapping"),
        ("1: a\n", "the name of a field is text"),
        ("", "a recipe is a mapping"),
    ],
    ids=["twice", "twice within", "laughs", "deep", "digits", "object", "date", "time", "list", "number", "empty"],
)  # fmt: skip
def test_hostile_yaml_is_one_sentence(told, text, reason):
    code, said = told({}, text=text)
    assert reason in said
    assert code == 2


TOLD = [
    ({"method": {"name": "vefa"}, "beta": 0.5}, "beta: is not read, since vefa has no such weight"),
    ({"method": {"name": "vefa"}, "rank": 4}, "rank: is not read, since vefa has no rank"),
    ({"calibrate_tokens": 100}, "calibrate_tokens: is not read, since lora reads no text"),
    ({"epochs": 2, "max_steps": 4}, "epochs: is not read, since --max-steps is given"),
    ({"confidence": 0.9}, "confidence: is not read, since --budget is not given"),
    ({"update_unit": "f_delta"}, "update_unit: is not read, since --update-limit is not given"),
    ({"rank": 4096}, "a rank of 4096 is more than the 32 dimensions of the widest layer"),
]


@pytest.mark.parametrize(("changes", "sentence"), TOLD, ids=[str([*c]) for c, _ in TOLD])
def test_what_has_no_effect_is_told(told, changes, sentence):
    code, said = told(changes)
    assert sentence in said
    assert code == 0


def test_tune_does_not_choose_among_several_methods(told):
    code, said = told({"method": {"name": "lora"}, "methods": ["lora", "vefa"]}, more=["--method", "lora"])
    assert code == 0
    code, said = told({}, verb="tune", text="model: m\ntrain: t\ntest: e\noutput: o\nmethods: [lora, vefa]\n")
    assert (code, "this recipe lists several" in said) == (2, True)


@pytest.mark.parametrize(
    "flags",
    [
        ["--learning-rate", "nan"], ["--learning-rate", "inf"], ["--learning-rate", "-1"], ["--seed", "-1"],
        ["--kl-weight", "-1"], ["--kl-weight", "nan"], ["--epochs", "inf"], ["--output", ""],
        ["--training.max_grad_norm", "nan"], ["--training.dataloader_num_workers", "-1"], ["--replay", "nan"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_flags_are_checked_as_recipes_are(told, flags):
    try:
        code, said = told({}, more=flags)
    except SystemExit as error:  # the parser's own words for what is no number at all
        code, said = error.code, flags[0]
    assert code == 2
    assert flags[0].lstrip("-").split(".")[-1].replace("-", "_") in said.replace("-", "_")
