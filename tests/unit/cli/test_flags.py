"""Flags become what a recipe takes: switches with and without a value."""

import pytest

from retain.cli.flags import overrides, read_arguments, recipe_parser, shape_of
from retain.cli.main import main
from retain.cli.verbs import VERBS
from retain.errors import InputError
from retain.recipe import RECIPES, AdviseRecipe, CalibrateRecipe, MeasureRecipe, Recipe, ScaleRecipe

RECIPE_OF = {"measure": MeasureRecipe, "calibrate": CalibrateRecipe, "scale": ScaleRecipe, "advise": AdviseRecipe}


def read(verb, *arguments):
    given = read_arguments(VERBS[verb].make_parser(), list(arguments))
    return given.get("recipe"), overrides(RECIPE_OF.get(verb, Recipe), given)


@pytest.mark.parametrize("flag", ["gate", "drift", "store-answers", "trust-remote-code"])
@pytest.mark.parametrize(
    ("said", "meant"), [([], True), (["true"], True), (["false"], False), (["no"], False), (["False"], False)]
)
def test_a_switch_alone_means_true(flag, said, meant):
    name = flag.replace("-", "_")
    assert read("measure", f"--{flag}", *said)[1] == {name: meant}
    assert read("measure", f"--{flag}", *said, "--model", "m")[1] == {name: meant, "model": "m"}


def test_a_switch_takes_neither_the_recipe_nor_another_flag():
    assert read("tune", "--store-answers", "r.yaml", "--drift=false") == (
        "r.yaml",
        {"store_answers": True, "drift": False},
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("tune --trian x --methd vefa", ["--trian: is no flag of retain tune; did you mean --train", "mean --method?"]),
        ("measure --held_out_text=a", ["--held_out_text: is no flag of retain measure; did you mean --held-out-text"]),
        ("tune --methd.rank 3", ["--methd.rank: is no flag of retain tune; did you mean --method?"]),
        ("gate r --junt x", ["--junt: is no flag of retain gate; did you mean --junit?"]),
        ("report r --zzz", ["--zzz: is no flag of retain report; retain report --help all"]),
        ("tune a.yaml b.yaml", ["more arguments than are read: b.yaml"]),
    ],
)
def test_a_flag_that_is_none_is_told_with_the_nearest(words, told, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert [one in said for one in told] == [True] * len(told), said


def test_calibrate_has_no_flag_that_does_nothing():
    for flag in ("--judge", "--margin", "--margin-nats", "--keep-score", "--generate"):
        with pytest.raises(SystemExit):
            read("calibrate", flag, "1")
    assert read("calibrate", "--keep-items", "9", "--test-items", "8")[1] == {"keep_items": 9, "test_items": 8}


@pytest.mark.parametrize(
    ("verb", "arguments", "values"),
    [
        ("tune", ["--method", "lora", "--method.lora_alpha", "4"], {"method": {"name": "lora", "lora_alpha": 4}}),
        ("tune", ["--method=lora"], {"method": {"name": "lora"}}),
        ("tune", ["--training.seed", "3", "--training.optim", "sgd"], {"training": {"seed": 3, "optim": "sgd"}}),
        ("tune", ["--keep", "a", "b", "--held-out-text", "t"], {"keep": ["a", "b"], "held_out_text": ["t"]}),
        ("tune", ["--budget", "a:1", "kl:2", "--budget", "b:3"], {"budget": ["a:1", "kl:2", "b:3"]}),
        ("tune", ["--from", "runs/first", "--seed", "3"], {"from_run": "runs/first", "seed": 3}),
        ("tune", ["--kl-weight", "budget", "--replay", "0.5"], {"kl_weight": "budget", "replay": 0.5}),
        ("compare", ["--methods", "lora, vefa", "--seeds", "3"], {"methods": ["lora", "vefa"], "seeds": 3}),
        ("compare", ["--seeds", "3,", "--learning-rates", "1e-3,x"], {"seeds": [3], "learning_rates": [1e-3, "x"]}),
        ("compare", ["--alphas", "0.5,1"], {"alphas": [0.5, 1.0]}),
        ("scale", ["runs/first", "--groups", "a:0.5", "--alpha", "0.5"], {"groups": ["a:0.5"], "alpha": 0.5}),
        ("measure", ["--lm-eval", "a,b", "c", "--labels", "x"], {"lm_eval": ["a,b", "c"], "labels": ["x"]}),
        ("advise", ["--replays", "0.1"], {"replays": [0.1]}),
    ],
)  # fmt: skip
def test_flags_become_values_of_fields(verb, arguments, values):
    assert read(verb, *arguments)[1] == values


def test_single_runs_and_comparisons_have_flags_of_their_own():
    for verb, flags in {"tune": ("--methods", "--seeds"), "compare": ("--method", "--learning-rate")}.items():
        for flag in flags:
            with pytest.raises(SystemExit):
                read(verb, flag, "1")
    assert read("check", "--method", "lora", "--methods", "vefa")[1].keys() == {"method", "methods"}


@pytest.mark.parametrize(
    ("field", "shape"),
    [
        ("model", "value"), ("rank", "value"), ("dtype", "value"), ("kl_weight", "value"), ("drift", "switch"),
        ("keep", "several"), ("budget", "pairs"), ("alphas", "list"), ("seeds", "list"), ("methods", "list"),
        ("learning_rates", "list"), ("method", "fields"), ("training", "fields"),
    ],
)  # fmt: skip
def test_the_shape_of_a_flag_is_that_of_its_fields_type(field, shape):
    assert shape_of(Recipe.model_fields[field].annotation) == shape


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_field_is_a_flag(recipe):
    text = recipe_parser(recipe, "d", "retain verb").format_help()
    for name in recipe.model_fields:
        assert f"--{'from' if name == 'from_run' else name.replace('_', '-')}" in text


def test_the_help_shows_common_options_or_one_topic():
    def shown(topic):
        return recipe_parser(Recipe, "About.", "retain tune", topic=topic, own=("comparison",)).format_help()

    common, training, everything = (shown(topic) for topic in ("common options", "training", "all"))
    assert "Base model" in common
    assert "How many seeds" in common, "a topic of the verb's own"
    assert "Passes over" in common
    assert "fused form" not in common
    assert "--accelerate" in common, "a topic that is not shown lists its flags"
    assert "fused form" in training
    assert "Base model" not in training
    assert all(text in everything for text in ("Base model", "fused form", "Non-inferiority margin"))
    with pytest.raises(InputError, match="give one of comparison, model, training"):
        shown("nonsense")


def test_real_defaults_are_shown():
    text = " ".join(recipe_parser(Recipe, "", "retain tune").format_help().split())
    for shown in (
        "[vefa]",
        "once. [32]",
        "data. [3]",
        "[0.2,0.4,0.6,0.8,1]",
        "layer by layer. [true]",
        "kept. [5]",
        "[0.05]",
    ):
        assert shown in text
    assert "default:" not in text
    assert "[False]" not in text


def test_all_values_of_a_wrong_kind_are_told_at_once_in_plain_words(capsys):
    given = ["--rank", "1.5", "--learning-rate", "nan", "--epochs", "many", "--head", "none", "--seed", "-1"]
    assert main(["tune", "--model", "m", "--train", "t", "--test", "e", "--output", "o", *given]) == 2
    said = capsys.readouterr().err
    for problem in (
        "rank: expected a whole number (found '1.5').",
        "learning_rate: expected a finite number (found nan).",
        "epochs: expected a number (found 'many').",
        "head: expected 'probe' or 'random' (found 'none').",
        "seed: expected a number of 0 or more (found -1).",
    ):
        assert problem in said
    assert not any(jargon in said for jargon in ("<class", "typing", "Parser key"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["suites", "capitals", "--items", "few"], "--items: expected a whole number (found 'few')"),
        (["tune", "--training", "x"], "--training: expected fields with values, as --training.FIELD VALUE (found 'x')"),
        (["tune", "--drift=maybe"], "--drift: expected true or false (found 'maybe')"),
    ],
)
def test_what_the_parser_refuses_is_told_without_types_of_python(words, told, capsys):
    with pytest.raises(SystemExit):
        main(words)
    assert told in capsys.readouterr().err
