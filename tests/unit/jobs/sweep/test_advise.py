"""The advice of a sweep: which fields count, what is written, and how long the full training would be."""

import shlex
from typing import get_args

import pytest
import yaml

from retain.cli.flags import overrides, read_arguments
from retain.cli.tune import make_parser
from retain.evaluate.suites.suite import Suites
from retain.jobs.inputs.data import Data
from retain.jobs.sweep import advise as advising
from retain.jobs.sweep.advise import (
    added_fields,
    advice_yaml,
    first_to_try,
    limit_of,
    sweep_fields,
    whole_steps,
)
from retain.jobs.sweep.open_session import shared_fields
from retain.jobs.sweep.session import candidate_fields
from retain.recipe import AdviseRecipe, Recipe
from retain.recipe.marks import fields_where
from retain.records.recommended import (
    Best,
    Figure,
    Kind,
    OfKind,
    Point,
    Recommended,
    flags_of,
    kind_of,
    sentences,
    shipped,
)
from retain.records.sweep_record import Recommendation

BASIC = {"model": "m", "train": "t", "test": "e", "output": "o"}
CHOSEN = Recommendation(candidate=0, alpha=1.0, within=True)


def test_what_a_candidate_brings_is_not_what_all_share():
    shared = set(shared_fields())
    assert {"batch_size", "max_length", "beta", "calibrate_tokens", "head"} <= shared
    assert not shared & {"method", "rank", "learning_rate", "epochs", "max_steps", "replay", "margin", "output"}
    assert not shared & set(candidate_fields())
    assert {"kl_weight", "kl_on", "ewc", "feature_weight", "update_limit", "training"} <= set(candidate_fields())
    assert shared <= set(fields_where(Recipe, lambda decides: decides.part != "nothing"))


def test_the_advice_is_a_recipe_of_one_run():
    recipe = AdviseRecipe(**BASIC, methods=("lora", "vefa"), sweep_steps=3, replay=0.5, judge="j --key K", epochs=2.0)
    run = Recipe(**BASIC, method={"name": "lora", "lora_alpha": 4}, rank=4, learning_rate=0.01, seed=1)
    text = advice_yaml(recipe, run, CHOSEN, "language")
    values = yaml.safe_load(text)
    assert "K" not in text.replace("KL", "")
    assert "say --judge" in text
    assert not set(values) & {*sweep_fields(), "judge", "replay"}
    advised = Recipe(**values)
    assert (advised.method, advised.rank, advised.rate) == ({"name": "lora", "lora_alpha": 4}, 4, 0.01)
    assert (advised.epochs, advised.output) == (2.0, "o/run")


def test_the_advice_holds_what_a_candidate_was_combined_with_and_says_what_to_paste():
    recipe = AdviseRecipe(**BASIC, methods=("vefa", {"name": "lora", "kl_weight": 3.0}), training={"adam_beta2": 0.9})
    run = recipe.runs()[1]
    advised = Recipe(**yaml.safe_load(advice_yaml(recipe, run, CHOSEN, "language")))
    assert (advised.method, advised.kl_weight, advised.rate) == ({"name": "lora"}, 3.0, run.rate)
    assert advised.training == {"adam_beta2": 0.9}
    assert advised.calibrate_keep == "self"  # the text that the penalty reads: the base generates it
    assert added_fields(recipe, run) == {"method": "lora", "kl_weight": 3.0, "learning_rate": run.rate}
    more = run.model_copy(update={"replay": 0.25, "training": {"adam_beta2": 0.9, "weight_decay": 1.0}, "rank": 4})
    assert added_fields(recipe, more) == {
        "method": "lora", "rank": 4, "kl_weight": 3.0, "training": {"weight_decay": 1.0}, "replay": 0.25,
        "learning_rate": run.rate,
    }  # fmt: skip


def test_replay_and_a_coefficient_below_1_are_told():
    recipe, run = AdviseRecipe(**BASIC), Recipe(**BASIC, replay=0.25)
    text = advice_yaml(recipe, run, CHOSEN.model_copy(update={"alpha": 0.5}), "language")
    assert yaml.safe_load(text)["replay"] == 0.25
    assert "Chosen at alpha 0.5" in text


@pytest.mark.parametrize(
    ("values", "rows", "steps"),
    [
        ({"max_steps": 7}, 100, 7),
        ({"batch_size": 8, "epochs": 1.0}, 17, 3),
        ({"batch_size": 8, "epochs": 2.0, "replay": 0.5}, 16, 8),
        ({"batch_size": 2, "epochs": 1.5, "training": {"gradient_accumulation_steps": 4}}, 16, 3),
    ],
)
def test_steps_of_the_full_training(values, rows, steps):
    assert whole_steps(Recipe(**BASIC, **values), rows) == steps


def test_the_limit_is_the_budgets_or_a_default():
    assert limit_of(AdviseRecipe(**BASIC, budget={"kl": 0.3})) == 0.3
    assert limit_of(AdviseRecipe(**BASIC)) == 0.1


AT = Point(task="sentiment", learning_rate=6e-3, seeds=4, gain=11.5, unit="points", lost={"s": 12.74})
FIRST = Best(
    method="lora-decay", title="LoRA, decay",
    fields={"method": {"name": "lorfa"}, "training": {"weight_decay": 10.0}}, balanced=(AT,), most=(AT,),
    mean=1.3, figures=(Figure(task="sentiment", kept="s", ratio=1.3, interval=(0.9, 2.0), differs=False),),
)  # fmt: skip


@pytest.fixture
def benchmark(monkeypatch):
    """A benchmark that has LoRFA first for encoders, nothing better than LoRA for language models, else nothing."""
    kinds = (
        OfKind(
            kind="encoder", tasks=("sentiment",), models=("m",), seeds=4, methods=("LoRA", "LoRA, decay"), best=FIRST
        ),
        OfKind(kind="language", tasks=("a", "b"), models=("m", "n"), seeds=3, methods=("LoRA", "VeFA")),
    )
    monkeypatch.setattr(advising, "shipped", lambda: Recommended(kinds=kinds))
    return Recommended(kinds=kinds)


def data_of(family):
    return Data([], Suites(()), family)


def tried_first(kind="encoder", family="text-classifier", **values):
    found, why = first_to_try(AdviseRecipe(**BASIC, **values), kind, data_of(family))
    return None if found is None else found.method, why


def test_what_the_benchmark_has_first_is_tried_where_the_recipe_leaves_it_open(benchmark):
    assert tried_first() == ("lora-decay", None)
    assert [tried_first(kind, "causal-lm") for kind in ("language", "vision")] == [(None, None)] * 2
    same = {"name": "lorfa", "training": {"weight_decay": 10.0}}
    assert tried_first(methods=("lora", same)) == (None, None)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"methods": ("lora", "lorfa")}, "the recipe lists its methods"),
        ({"training": {"weight_decay": 0.1}}, "the recipe gives training.weight_decay another value"),
    ],
)
def test_what_a_recipe_excludes_is_not_tried_and_the_advice_says_why(benchmark, values, reason):
    told = f"LoRA, decay, which the benchmark has first for encoders, was not tried: {reason}."
    assert tried_first(**values) == (None, told)


def test_what_a_sweep_cannot_try_is_left_out(monkeypatch):
    def told(**values):
        best = FIRST.model_copy(update=values)
        kinds = (OfKind(kind="encoder", tasks=("t",), methods=("LoRA",), best=best),)
        monkeypatch.setattr(advising, "shipped", lambda: Recommended(kinds=kinds))
        return tried_first()[1] or ""

    assert "changes the base" in told(fields={"method": {"name": "full"}})
    assert "cannot tell what fewer steps do" in told(steps=0.5)
    assert "a classifier's head has no answer" in told(fields={"method": {"name": "lora"}, "replay": 0.25})
    assert "kl" in told(fields={"method": {"name": "lora"}, "kl_weight": "budget"})


def test_the_advice_says_what_the_benchmark_has_first_and_that_it_is_not_shown(benchmark):
    text = advice_yaml(AdviseRecipe(**BASIC), Recipe(**BASIC), CHOSEN, "encoder")
    assert "# First for encoders in the benchmark (that it beats tuned LoRA is not shown" in text
    assert "# --method lorfa --training.weight_decay 10 --learning-rate 0.006" in text
    assert "benchmark" not in advice_yaml(AdviseRecipe(**BASIC), Recipe(**BASIC), CHOSEN, "vision")


def test_of_a_kind_of_model_is_said_what_is_known_and_what_is_not(benchmark):
    told = " ".join(sentences(benchmark.of("encoder")))
    assert "LoRA; LoRA, decay on encoders (sentiment with m, 4 seeds a method" in told
    assert "not shown: 1 of 1 figures could be luck, or rest on single seeds" in told
    assert "1 task and 1 small model" in told
    assert "begin with LoRA" in " ".join(sentences(benchmark.of("language")))
    nothing = benchmark.of("vision")
    assert "nothing yet: no method has three seeds" in " ".join(sentences(nothing))
    unsure = nothing.model_copy(update={"unsure": ("garments",)})
    assert "what LoRA itself gained on garments could be none" in " ".join(sentences(unsure))
    better = FIRST.model_copy(update={"figures": (FIRST.figures[0].model_copy(update={"differs": True}),)})
    two = FIRST.model_copy(update={"figures": (*better.figures, *FIRST.figures)})
    some = " ".join(sentences(benchmark.of("encoder").model_copy(update={"best": two})))
    assert "is shown on sentiment (s); 1 of 2 figures could be luck" in some
    assert "is shown by each" in " ".join(sentences(benchmark.of("encoder").model_copy(update={"best": better})))


@pytest.mark.parametrize(
    "fields",
    [
        {"method": {"name": "lora"}, "kl_weight": 3.0},
        {"method": {"name": "lora", "lora_alpha": 32}, "rank": 32, "training": {"weight_decay": 10.0}},
        {"method": {"name": "ia3", "target_modules": ["k_proj", "fc2"]}, "feature_weight": 1.0},
    ],
)
def test_the_flags_of_the_benchmarks_first_are_what_the_command_line_takes(fields):
    best = FIRST.model_copy(update={"fields": fields})
    arguments = ["--model", "m", "--train", "t", "--test", "e", "--output", "o", *shlex.split(flags_of(best))]
    recipe = Recipe(**overrides(Recipe, read_arguments(make_parser(), arguments)))
    assert {name: getattr(recipe, name) for name in fields} == fields
    assert recipe.rate == 6e-3


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("causal-lm", "language"), ("text-classifier", "encoder"), ("text-features", "encoder"),
        ("image-classifier", "vision"), ("image-features", "vision"),
    ],
)  # fmt: skip
def test_every_family_is_of_a_kind(family, kind):
    assert kind_of(family) == kind


def test_what_is_shipped_is_read_and_names_every_kind():
    assert [one.kind for one in shipped().kinds] == list(get_args(Kind))
