"""What goes wrong between two programs, on a real socket: each fault ends in a right answer or in one sentence."""

import json
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from fault_server import scripted
from retain.errors import InputError
from retain.served.address import Address, is_address
from retain.served.transport import ServerError, Transport

KEY = "sk-very-secret-0123456789"


def asked_once(answer, *, seconds=60.0, tries=4, key="", **fields):
    """The value of one request to a server, what it was asked, and the pauses."""
    pauses = []
    with scripted(answer) as (url, asked):
        transport = Transport(Address.parse(url, "tuned"), key, seconds, tries, sleep=pauses.append, **fields)
        try:
            return transport.post("/completions", {"prompt": "a"}), asked, pauses
        finally:
            transport.close()


def in_turn(*answers):
    """One answer after the other, the last one for all that follow."""
    left = list(answers)

    def answer(asked):
        (left.pop(0) if len(left) > 1 else left[0])(asked)

    return answer


def good(asked):
    asked.json({"choices": [{"text": "b"}]})


@pytest.mark.parametrize(
    "fault",
    [
        lambda asked: asked.json({"error": {"message": "busy"}}, 429),
        lambda asked: asked.json({"detail": "broken"}, 500),
        lambda asked: asked.send(503, b"<html>restarting</html>", "text/html"),
        lambda asked: asked.send(529, b""),
        lambda asked: asked.send(200, b'{"choices": [{"te'),
        lambda asked: asked.cut(b'{"choices": [{"te'),
        lambda asked: asked.hang_up(),
        lambda asked: asked.send(200, b'{"a": NaN}'),
    ],
    ids=["429", "500", "html 503", "529", "half a JSON", "cut off", "hung up", "NaN"],
)
def test_a_fault_that_passes_is_asked_again(fault):
    value, asked, pauses = asked_once(in_turn(fault, fault, good))
    assert value["choices"][0]["text"] == "b"
    assert len(asked) == 3
    assert len(pauses) >= 2
    assert pauses[1] >= 0.5


def test_the_pause_is_what_the_server_asks_for_in_seconds_or_as_a_date():
    busy = lambda value: lambda asked: asked.json({}, 429, retry_after=value)  # noqa: E731
    assert 7 <= asked_once(in_turn(busy("7"), good))[2][0] < 8
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=200), usegmt=True)
    assert 100 < asked_once(in_turn(busy(until), good))[2][0] < 201  # less by what passes until it is asked
    with pytest.raises(ServerError, match="asks to wait 4000 s.*kept"):
        asked_once(busy("4000"))
    assert asked_once(in_turn(busy("soon"), good))[0]  # no time at all is the usual pause


def test_what_does_not_pass_is_told_at_once_and_only_asked_once():
    for status, words in {400: "too long", 404: "no such", 422: "unknown field"}.items():
        answer = lambda asked, status=status, words=words: asked.json({"error": {"message": words}}, status)  # noqa: E731
        with pytest.raises(ServerError, match=f"answered with {status} .{words}") as found:
            asked_once(answer)
        assert found.value.status == status
        assert not found.value.passing


def test_a_page_in_place_of_an_answer_asks_for_the_right_address():
    with pytest.raises(ServerError, match="text/html and not with JSON.*with /v1 at its end"):
        asked_once(lambda asked: asked.send(200, b"<html>Welcome</html>", "text/html"))


def test_a_server_that_drips_or_is_silent_is_given_up_in_time():
    gone, over = threading.Event(), threading.Event()

    def drips(asked):
        try:
            asked.drip(60)
        except OSError:  # nobody listens any more
            gone.set()

    for answer in (drips, lambda asked: over.wait(60)):
        with pytest.raises(ServerError, match=r"0.3 s; --request-timeout"):
            asked_once(answer, seconds=0.3, tries=1)
    over.set()
    assert gone.wait(30)


def test_nobody_there_is_told_with_the_address():
    transport = Transport(Address("http://127.0.0.1:9/v1"), tries=2, sleep=lambda _: None)
    with pytest.raises(ServerError, match="http://127.0.0.1:9/v1: nothing answers there"):
        transport.get("/models")


def test_the_key_goes_to_the_server_and_nowhere_else():
    _, asked, _ = asked_once(good, key=KEY)
    assert {name.lower(): value for name, value in asked[0].headers.items()}["authorization"] == f"Bearer {KEY}"
    refusal = lambda asked: asked.json({"error": {"message": f"wrong key {KEY}"}}, 401)  # noqa: E731
    with pytest.raises(ServerError) as found:
        asked_once(refusal, key=KEY)
    assert "the key of OPENAI_API_KEY was refused" in str(found.value)
    assert KEY not in str(found.value)
    repeated, _, _ = asked_once(lambda asked: asked.json({"echo": KEY}), key=KEY)
    assert KEY not in json.dumps(repeated)
    assert KEY not in repr(Transport(Address("http://h/v1"), KEY))
    with pytest.raises(ServerError, match="wants a key: set OPENAI_API_KEY"):
        asked_once(lambda asked: asked.json({}, 401))
    with pytest.raises(ServerError, match="wants a key: set TEAM_KEY"):
        asked_once(lambda asked: asked.json({}, 403), key_variable="TEAM_KEY")
    with pytest.raises(InputError, match="no header can"):
        Transport(Address("http://h/v1"), "sk-\nx")


def test_a_redirect_is_not_followed():
    with pytest.raises(ServerError, match=r"sends on to http://elsewhere/v1, which is not followed"):
        asked_once(lambda asked: asked.send(307, b"", location="http://elsewhere/v1?key=1"), key=KEY)


def test_a_proxy_of_the_environment_is_not_asked_the_way_to_this_machine(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert asked_once(good)[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://user:pw@host/v1", "password"),
        ("http://token@host/v1", "password"),
        ("http://host/v1?api_key=x", "behind [?] or #"),
        ("http://host/v1#x", "behind [?] or #"),
        ("http:///v1", "no address"),
        ("http://host:99999/v1", "no address"),
        ("ftp://host/v1", "no address"),
    ],
)
def test_addresses_that_are_refused_are_not_repeated_where_they_hold_a_secret(text, words):
    with pytest.raises(InputError, match=words) as found:
        Address.parse(text, "tuned")
    assert "pw@" not in str(found.value)
    assert "api_key=x" not in str(found.value)
    assert "token@" not in str(found.value)


def test_addresses_as_people_write_them():
    assert Address.parse(" HTTP://Host:80/v1/ ", "tuned").url == "http://host:80/v1"
    assert Address.parse("http://[::1]:8000/v1", "tuned").is_here
    assert Address.parse("https://api.example/openai/v1", "tuned").root == "https://api.example/openai"
    assert not Address.parse("http://example/v1", "tuned").is_here
    assert is_address("HTTPS://x")
    assert not is_address("owner/name")
    assert not is_address("./http")
