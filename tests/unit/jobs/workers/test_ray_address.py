"""An address at which no cluster answers is told at once; a cluster of one's own leaves nothing in the home."""

import os
import socket

import pytest

from retain.errors import InputError


@pytest.fixture
def check(monkeypatch):
    pytest.importorskip("ray")
    from retain.jobs.workers import ray_cluster

    monkeypatch.setattr(ray_cluster, "ANSWER_SECONDS", 0.2)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    return ray_cluster.check_answers


@pytest.mark.parametrize("address", ["nonsense", "here:x", ":6379", "here:99999"])
def test_what_is_no_address_is_told(check, address):
    with pytest.raises(InputError, match="no address; say auto, local, or HOST:PORT"):
        check(address)


def test_a_port_that_is_silent_or_closed_is_told(check, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(InputError, match="no cluster answers at"):
            check(address)
    with pytest.raises(InputError, match="no cluster answers at"):
        check(address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match="no cluster answers at"):
        check("auto")
    check("ray://somewhere:10001")  # Ray's client has a limit of its own


def test_a_cluster_of_ones_own_has_a_token_of_its_own_and_leaves_none(check, monkeypatch):
    """Else Ray writes one into the user's home, and asks for it in every later cluster."""
    from retain.jobs.workers.ray_cluster import AUTHENTICATION, own_token

    for name in AUTHENTICATION:
        monkeypatch.delenv(name, raising=False)
    with own_token():
        assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
        os.environ["RAY_AUTH_MODE"] = "token"  # as Ray does
    assert not {*AUTHENTICATION} & {*os.environ}
    monkeypatch.setenv("RAY_AUTH_TOKEN", "the user's")
    with own_token():
        assert len(os.environ["RAY_AUTH_TOKEN"]) == 10
