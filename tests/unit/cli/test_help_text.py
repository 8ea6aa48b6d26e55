"""The texts of help: widths, defaults, topics."""

import pytest

from retain.cli.help_text import ALL, default_text, help_topic, overview, plain_parser, topics_text, wrapped
from retain.cli.verbs import VERBS
from retain.errors import InputError
from retain.recipe import Recipe
from retain.recipe.marks import COMMON


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    """A terminal of 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")


def lines(text):
    return len(text.splitlines())


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_fits_two_screens(verb):
    text = VERBS[verb].make_parser(COMMON).format_help()
    assert lines(text) <= 100
    assert max(map(len, text.splitlines())) <= 100
    assert "default:" not in text
    assert "type:" not in text


@pytest.mark.parametrize("verb", VERBS)
def test_no_help_shows_a_default_that_is_nothing(verb):
    text = VERBS[verb].make_parser(ALL).format_help()
    assert [empty for empty in ("[]", "[None]", "[{}]", "[,") if empty in text] == []


def test_the_overview_is_one_line_a_verb_at_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = overview({name: module.HELP for name, module in VERBS.items()})
    shown = [line.split()[0] for line in text.splitlines() if line.startswith("  ")]
    assert shown == list(VERBS)
    assert max(map(len, text.splitlines())) <= 80
    assert lines(text) <= 24


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("epochs", "[3]"), ("margin_nats", "[0.05]"), ("drift", "[true]"), ("dtype", "[auto]"), ("method", "[vefa]"),
        ("alphas", "[0.2,0.4,0.6,0.8,1]"), ("calibrate_tokens", "[16384]"), ("seed", "[0]"), ("seeds", "[1]"),
        ("model", ""), ("rank", ""), ("accelerate", ""), ("keep", ""), ("budget", ""), ("training", ""),
    ],
)  # fmt: skip
def test_real_defaults_stand_in_brackets_unless_the_description_tells(field, text):
    assert default_text(Recipe.model_fields[field]) == text


@pytest.mark.parametrize(
    ("arguments", "left", "topic"),
    [
        ([], [], COMMON),
        (["r.yaml", "--rank", "2"], ["r.yaml", "--rank", "2"], COMMON),
        (["--help"], ["--help"], COMMON),
        (["--help", "training"], ["--help"], "training"),
        (["r.yaml", "-h", "all"], ["r.yaml", "-h"], "all"),
        (["--help", "--rank", "2"], ["--help", "--rank", "2"], COMMON),
    ],
)
def test_the_word_after_help_is_its_topic(arguments, left, topic):
    assert help_topic(arguments) == (left, topic)


def test_topics_list_their_flags():
    text = topics_text("tune", {"training": ["--beta", "--head"], "budget": ["--alphas"]})
    assert text.splitlines() == [
        "more options (retain tune --help TOPIC, or --help all):",
        "  training  --beta --head",
        "  budget    --alphas",
        "",
    ]  # fmt: skip
    assert topics_text("tune", {}) == ""


def test_long_texts_are_wrapped_at_blanks_only():
    text = wrapped("--held-out-text " * 12, "    ", "  first ")
    assert all(len(line) <= 98 for line in text.splitlines())
    assert text.count("--held-out-text") == 12
    assert text.splitlines()[1].startswith("    --held-out-text")


def test_a_verb_without_topics_refuses_one():
    assert "Show this help" in plain_parser("RUN", "About.", "retain verb a", COMMON).format_help()
    with pytest.raises(InputError, match="has no topics"):
        plain_parser("RUN", "About.", "retain verb a", "training")
