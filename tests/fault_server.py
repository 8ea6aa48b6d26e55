"""A server on a real socket that does what a script says: faults of networks and servers, and dialects of the protocol.

It stands in for what cannot be run here (vLLM, hosted services); real servers are in `test_served_models.py`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Asked"], None]


class Asked:
    """One request, and the ways to answer it."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        self.handler, self.body = handler, body
        self.path, self.headers = handler.path, dict(handler.headers)

    def send(self, status: int, content: bytes, kind: str = "application/json", **headers: str) -> None:
        self.handler.send_response(status)
        self.handler.send_header("content-type", kind)
        self.handler.send_header("content-length", str(len(content)))
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.end_headers()
        self.handler.wfile.write(content)

    def json(self, value: Any, status: int = 200, **headers: str) -> None:
        self.send(status, json.dumps(value).encode(), **headers)

    def cut(self, content: bytes) -> None:
        """Announce more than is sent, and hang up."""
        self.handler.send_response(200)
        self.handler.send_header("content-type", "application/json")
        self.handler.send_header("content-length", str(len(content) + 50))
        self.handler.end_headers()
        self.handler.wfile.write(content)
        self.handler.close_connection = True

    def drip(self, seconds: float) -> None:
        """A byte now and then, for ever as far as a client is concerned."""
        self.handler.send_response(200)
        self.handler.send_header("content-type", "application/json")
        self.handler.send_header("content-length", "1000")
        self.handler.end_headers()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.handler.wfile.write(b" ")
            self.handler.wfile.flush()
            time.sleep(0.02)
        self.handler.close_connection = True

    def hang_up(self) -> None:
        self.handler.close_connection = True
        self.handler.connection.close()


@contextmanager
def scripted(answer: Answer):
    """The address of a server that answers each request by a function, and the list of what it was asked."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            self._answer({})

        def do_POST(self):
            self._answer(json.loads(self.rfile.read(int(self.headers["content-length"])) or b"{}"))

        def _answer(self, body):
            one = Asked(self, body)
            asked.append(one)
            try:
                answer(one)
            except OSError:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        server.server_close()
