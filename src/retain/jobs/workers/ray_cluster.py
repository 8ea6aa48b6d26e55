"""Join a Ray cluster, once what answers at its address is known to be one, or start one on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Iterator
from typing import Any

import ray

from retain.errors import InputError

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}
"""Settings of Ray where this command starts it: nothing is reported to anybody."""

AUTHENTICATION = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
"""Settings by which Ray knows who may join a cluster."""

ANSWER_SECONDS = 20.0
"""Time that a cluster has to answer before it is joined."""

HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What a client of HTTP/2, as gRPC is one, begins with; its server answers at once."""


@contextlib.contextmanager
def joined(address: str) -> Iterator[None]:
    """Join a cluster, or start one of this machine; leave it, or end it, afterwards.

    Raises:
        InputError: there is none at the address, or it runs another version of Ray or Python.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if address != "local":
        check_answers(address)
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": True}
    with own_token() if address == "local" else contextlib.nullcontext():
        if address == "local":
            options["include_dashboard"] = False
        try:
            ray.init(address=address, ignore_reinit_error=False, **options)
        except Exception as error:
            raise InputError(
                f"ray: no cluster could be joined at {address!r} ({' '.join(str(error).split())[:200]}). Start one "
                "with `ray start --head`, or say --ray ADDRESS:6379; --ray local starts one on this machine."
            ) from error
        try:
            yield
        finally:
            ray.shutdown()


def check_answers(address: str) -> None:
    """See whether something answers as Ray's servers do (HTTP/2), since Ray itself tries for a quarter of an hour.

    Raises:
        InputError: nothing does, or it is no address.
    """
    named = os.environ.get("RAY_ADDRESS", "") if address == "auto" else address
    if not named or "://" in named or os.environ.get("RAY_USE_TLS", "0") != "0":
        return  # found by Ray on this machine; or a client's address, for which Ray has a limit of time
    host, _, port = named.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"ray: {named!r} is no address; say auto, local, or HOST:PORT, as 10.0.0.1:6379.")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS) as line:
            line.sendall(HTTP2_GREETING)
            answered = bool(line.recv(1))
    except OSError as error:
        raise InputError(
            f"ray: no cluster answers at {named} ({error}). See `ray status` there, and whether this machine may reach "
            "that port."
        ) from error
    if not answered:
        raise InputError(f"ray: what answers at {named} is no cluster of Ray; its port is 6379 unless it says another.")


@contextlib.contextmanager
def own_token() -> Iterator[None]:
    """Give a cluster that is started inside a token of its own, unless the environment names one.

    Ray would write one to `~/.ray/auth_token`, and ask for it in every later cluster that this user starts.
    """
    before = {name: os.environ.get(name) for name in AUTHENTICATION}
    if not (before["RAY_AUTH_TOKEN"] or before["RAY_AUTH_TOKEN_PATH"]):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        inner: Any = ray._raylet  # noqa: SLF001 -- Ray keeps what it read, and has no public way to read it again
        with contextlib.suppress(AttributeError):
            inner.Config.initialize("")
            inner.AuthenticationTokenLoader.instance().reset_cache()
