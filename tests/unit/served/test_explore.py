"""What a server can do is what its answers show, not what it accepts without a word."""

import pytest

from dialects import Dialect, log_probability, most_likely
from fault_server import scripted
from retain.errors import InputError
from retain.served.address import Address
from retain.served.explore import Probe, choose_model, explore
from retain.served.model import Prompt, ServedModel
from retain.served.transport import Transport

IDS = (1, 5, 2, 7, 3, 3, 0, 6, 4, 1, 2, 2)
PROBE = Probe(IDS, "some words", [{"role": "user", "content": "some words"}])

DIALECTS = {
    "vLLM": (Dialect(echo=True, at_least=1, prompt_logprobs=True, numbers="token_id", bias=True), "echo"),
    "repeats": (Dialect(echo=True), "echo"),
    "vLLM without echo": (Dialect(prompt_logprobs=True), "prompt_logprobs"),
    "llama.cpp": (Dialect(bias=True, numbers="id"), "forced"),
    "numbers on request": (Dialect(bias=True, numbers="token_id"), "forced"),
    "biased figures": (Dialect(bias=True, raw=False, numbers="id"), None),
    "a bias that is ignored": (Dialect(numbers="id"), None),
    "texts of tokens only": (Dialect(bias=True), None),
    "no token ids": (Dialect(ids="refused", echo=True), None),
    "token ids read as text": (Dialect(ids="as text", echo=True), None),
    "strict": (Dialect(strict=True, bias=True, numbers="id"), "forced"),
}


@pytest.fixture
def opened():
    """Opens servers of a dialect, and closes them."""
    held = []

    def open_one(dialect, **options):
        context = scripted(dialect)
        held.append(context)
        url, asked = context.__enter__()
        transport = Transport(Address.parse(url, "tuned"), tries=2, sleep=lambda _: None, **options)
        return transport, asked

    yield open_one
    for context in held:
        context.__exit__(None, None, None)


@pytest.mark.parametrize("name", DIALECTS)
def test_likelihoods_are_had_in_the_way_that_is_shown_to_be_right(opened, name):
    dialect, way = DIALECTS[name]
    transport, _ = opened(dialect)
    can = explore(transport, "toy", PROBE)
    assert can.likelihood == way
    if way is not None:
        expected = [log_probability(list(IDS[:k]), IDS[k]) for k in range(3, len(IDS))]
        assert ServedModel(transport, "toy", can).likelihoods(IDS, 3) == pytest.approx(expected)


def test_answers_come_with_their_tokens_where_these_are_numbered(opened):
    transport, _ = opened(Dialect(bias=True, numbers="id"))
    model = ServedModel(transport, "toy", explore(transport, "toy", PROBE))
    first = most_likely(list(IDS))
    reply = model.write(Prompt(IDS), 2, (99,))
    assert reply.ids == (first, most_likely([*IDS, first]))
    assert (reply.prompt_tokens, reply.ended) == (len(IDS), False)


def test_a_server_that_only_talks_is_asked_in_conversations(opened):
    transport, asked = opened(Dialect(completions=False))
    can = explore(transport, "toy", PROBE)
    assert (can.writing, can.likelihood) == (("chat",), None)
    ServedModel(transport, "toy", can).write(Prompt(IDS, "x", PROBE.messages, {"enable_thinking": False}), 4, ())
    assert asked[-1].body["messages"] == PROBE.messages
    assert asked[-1].body["chat_template_kwargs"] == {"enable_thinking": False}


def test_fields_that_a_strict_server_refuses_are_left_out(opened):
    transport, asked = opened(Dialect(strict=True))
    can = explore(transport, "toy", PROBE)
    assert can.fields == {"seed": 0}
    ServedModel(transport, "toy", can).write(Prompt(IDS), 1, ())
    assert asked[-1].body["temperature"] == 0
    assert "repetition_penalty" not in asked[-1].body


def test_models_are_named_or_the_only_one(opened):
    transport, _ = opened(Dialect(models=("base", "my-lora")))
    assert choose_model(transport, "my-lora", "tuned_model") == "my-lora"
    with pytest.raises(InputError, match="has no model 'my-loar'; it has base, my-lora"):
        choose_model(transport, "my-loar", "tuned_model")
    with pytest.raises(InputError, match="which model.*it has base, my-lora; say --tuned-model NAME"):
        choose_model(transport, None, "tuned_model")
    transport, _ = opened(Dialect(models=()))
    assert choose_model(transport, "any", "tuned_model") == "any"


def test_a_server_that_answers_nothing_is_told_with_its_reasons(opened):
    transport, _ = opened(Dialect(completions=False, chat=False))
    with pytest.raises(InputError, match="answers nothing: .*/completions was answered with 404 .Not Found"):
        explore(transport, "toy", PROBE)
    transport, _ = opened(lambda asked: asked.json({"error": "bad key"}, 401))
    with pytest.raises(InputError, match="tuned: .*wants a key"):
        choose_model(transport, "toy", "tuned_model")


def test_answers_that_are_none_of_the_protocol_are_refused(opened):
    for value in ([], {}, {"choices": []}, {"choices": ["x"]}, {"choices": 3}, "x"):
        transport, _ = opened(lambda asked, value=value: asked.json(value))
        with pytest.raises(InputError):
            explore(transport, "toy", PROBE)
