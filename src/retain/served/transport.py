"""Requests to a server: time limits, repetition with growing pauses, and one sentence for whatever goes wrong.

httpx2 sends, tenacity repeats. The client of the package `openai` was looked at and not taken: half of what is asked
here (token ids, likelihoods of a prompt, a server's own tokenizer and template) is not in its types, it reads an
address and an organisation from the environment beside the key, and it waits no longer than a minute where a server
says Retry-After.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from retain.errors import InputError, RetainError
from retain.records.reading import parse_json
from retain.served.address import Address

PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 507, 529})
"""Statuses after which the same request may well be answered."""

LONGEST_WAIT = 600.0
"""Seconds that a server may ask to wait; more is told, and not waited for."""

MOST_BYTES = 64 * 2**20
"""The largest answer that is read."""

SHOWN = 300
"""Characters of a server's own words that a message shows."""


class ServerError(RetainError):
    """A server did not answer as asked.

    Attributes:
        status: of its answer; 0 where there was none.
        passing: whether the same request may be answered later.
        wait: seconds that the server asked to wait.
    """

    def __init__(self, message: str, *, status: int = 0, passing: bool = False, wait: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.passing, self.wait = status, passing, wait


@dataclass
class Transport:
    """A connection to one server, for any number of threads.

    Attributes:
        address: of the server.
        key: sent with each request and shown nowhere; empty for none.
        key_variable: the environment variable that holds it, for a refusal.
        seconds: the longest time for an answer, from the request to its last byte.
        tries: how often a request is sent at most.
        connections: how many may be open at a time.
        sleep: waits for some seconds. [until the transport is closed, at most]
    """

    address: Address
    key: str = field(default="", repr=False)
    seconds: float = 120.0
    tries: int = 6
    connections: int = 8
    sleep: Callable[[float], Any] | None = None
    key_variable: str = "OPENAI_API_KEY"

    def __post_init__(self) -> None:
        """Open the client. A proxy of the environment is used for other machines only; no redirect is followed."""
        if not (self.key.isascii() and self.key.isprintable()):
            raise InputError("the key in the environment holds characters that no header can; set it anew.")
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        self._client = httpx2.Client(
            headers=headers,
            timeout=httpx2.Timeout(self.seconds, connect=min(self.seconds, 20.0)),
            limits=httpx2.Limits(max_connections=self.connections),
            trust_env=not self.address.is_here,
            follow_redirects=False,
        )
        self._lock = threading.Lock()
        self._not_before = 0.0
        self._closed = threading.Event()

    def close(self) -> None:
        """Close all connections; whoever waits for an answer, or to ask again, does so no longer."""
        self._closed.set()
        self._client.close()

    def _pause(self, seconds: float) -> None:
        (self.sleep or self._closed.wait)(seconds)

    def get(self, path: str, *, at_root: bool = False, tries: int | None = None) -> Any:
        """The value at a path; see `post`."""
        return self._repeated("GET", path, None, at_root=at_root, tries=tries)

    def post(self, path: str, body: Mapping[str, Any], *, at_root: bool = False, tries: int | None = None) -> Any:
        """The answer to a request, as a JSON value.

        Args:
            path: behind the address, as `/completions`.
            body: of the request.
            at_root: whether the path stands beside /v1 and not behind it.
            tries: how often it is sent at most. [as the transport says]

        Raises:
            ServerError: the server cannot be reached, refuses, or answers with something else than JSON.
        """
        return self._repeated("POST", path, body, at_root=at_root, tries=tries)

    def _repeated(self, method: str, path: str, body: Any, *, at_root: bool, tries: int | None) -> Any:
        url = (self.address.root if at_root else self.address.url) + path
        retrying = Retrying(
            retry=retry_if_exception(self._may_pass),
            wait=self._wait,
            stop=stop_after_attempt(self.tries if tries is None else tries),
            sleep=self._pause,
            reraise=True,
        )
        return retrying(self._once, method, url, body)

    def _may_pass(self, error: BaseException) -> bool:
        return isinstance(error, ServerError) and error.passing and not self._closed.is_set()

    def _wait(self, state: RetryCallState) -> float:
        """As long as the server says, else longer each time; after "too many requests" all threads wait."""
        error = state.outcome.exception() if state.outcome is not None else None
        seconds = float(wait_exponential_jitter(multiplier=0.5, max=30.0, jitter=0.5)(state))
        if isinstance(error, ServerError) and error.wait:
            seconds = error.wait + 0.1
            with self._lock:
                self._not_before = max(self._not_before, time.monotonic() + error.wait)
        return seconds

    def _once(self, method: str, url: str, body: Any) -> Any:
        with self._lock:
            pause = self._not_before - time.monotonic()
        if pause > 0:
            self._pause(pause)
        if self._closed.is_set():
            raise ServerError(f"{self.address.url}: the connection was closed.")
        try:
            with self._client.stream(method, url, json=body) as response:
                content = self._read(response)
                status, headers = response.status_code, response.headers
        except httpx2.TimeoutException as error:
            raise self._silent(f"did not answer within {self.seconds:g} s", "--request-timeout") from error
        except httpx2.ConnectError as error:
            reason = self._clean(str(error))
            raise ServerError(f"{self.address.url}: nothing answers there ({reason}).", passing=True) from error
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            reason = self._clean(str(error)) or type(error).__name__
            raise ServerError(f"{self.address.url}: the connection broke ({reason}).", passing=True) from error
        except (httpx2.InvalidURL, httpx2.StreamError, ValueError, RuntimeError) as error:
            raise ServerError(f"{self.address.url}: cannot be asked ({self._clean(str(error))}).") from error
        return self._value(url, status, headers, content)

    def _read(self, response: httpx2.Response) -> bytes:
        """The whole body, within the time; a server that sends a byte a second is as silent as one that sends none."""
        end, parts, size = time.monotonic() + self.seconds, [], 0
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > MOST_BYTES:
                raise ServerError(f"{self.address.url}: its answer is longer than {MOST_BYTES // 2**20} MiB.")
            if time.monotonic() > end:
                raise self._silent(f"had not sent its answer after {self.seconds:g} s", "--request-timeout")
        return b"".join(parts)

    def _silent(self, what: str, flag: str) -> ServerError:
        return ServerError(f"{self.address.url}: the server {what}; {flag} SECONDS waits longer.", passing=True)

    def _value(self, url: str, status: int, headers: Mapping[str, str], content: bytes) -> Any:
        text = self._clean(content.decode("utf-8", errors="replace"), MOST_BYTES)
        path = url.removeprefix(self.address.root)
        if status >= 300:
            raise self._refusal(path, status, headers, text)
        kind = headers.get("content-type", "").split(";")[0].strip()
        if kind and "json" not in kind and not text.lstrip().startswith(("{", "[")):
            raise ServerError(
                f"{self.address.url}: {path} was answered with {kind} and not with JSON ({_short(text)!r}); is this "
                "the address of the API, with /v1 at its end?",
                status=status,
            )
        try:
            return parse_json(text, f"{self.address.url}: the answer to {path}")
        except InputError as error:  # cut off on its way, as a rule
            raise ServerError(str(error), status=status, passing=True) from error

    def _refusal(self, path: str, status: int, headers: Mapping[str, str], text: str) -> ServerError:
        wait = _seconds(headers.get("retry-after", ""))
        if status in {301, 302, 303, 307, 308}:
            target = headers.get("location", "").split("?")[0]
            return ServerError(
                f"{self.address.url}: sends on to {self._clean(target)}, which is not followed, since the key would be "
                "sent there; give that address.",
                status=status,
            )
        if status in {401, 403}:
            name = self.key_variable
            wanted = f"it wants a key: set {name}, or --key-variable NAME"
            cure = f"the key of {name} was refused" if self.key else wanted
            return ServerError(f"{self.address.url}: {cure} ({status}: {_message(text)}).", status=status)
        if wait > LONGEST_WAIT:
            return ServerError(
                f"{self.address.url}: asks to wait {wait:g} s ({status}: {_message(text)}); what was answered is kept, "
                "so say the same command then.",
                status=status,
            )
        what = "too many requests" if status == 429 else f"{path} was answered with {status}"
        cure = "; --concurrency 1 asks less at a time" if status == 429 else ""
        return ServerError(
            f"{self.address.url}: {what} ({_message(text)}){cure}.", status=status, passing=status in PASSING, wait=wait
        )

    def _clean(self, text: str, longest: int = SHOWN) -> str:
        """A server's words without the key, which some repeat."""
        return (text.replace(self.key, "[key]") if len(self.key) > 3 else text)[:longest]


def _seconds(value: str) -> float:
    """The pause that Retry-After asks for: seconds or a date."""
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return 0.0
    return max((until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)


def _message(text: str) -> str:
    """What a server's refusal says, of any of its usual forms."""
    try:
        value = parse_json(text, "")
    except InputError:
        return _short(text) or "no reason given"
    for key in ("error", "message", "detail"):
        if isinstance(value, dict) and key in value:
            value = value[key]
    return _short(value if isinstance(value, str) else str(value)) or "no reason given"


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= SHOWN else f"{words[:SHOWN]}…"
