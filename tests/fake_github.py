"""A server that answers as GitHub's interface does for the comments of one pull request, and its environment."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "secret-token"  # noqa: S105  (of a server of this test's own)


class FakeGitHub(ThreadingHTTPServer):
    """Holds the comments of pull request 7 of owner/name, and each request that it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.comments: list[dict] = []
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str] = set()
        self.failures: list[int] = []
        self.locked: set[int] = set()


class Handler(BaseHTTPRequestHandler):
    def _do(self):  # noqa: PLR0911  (one answer a case)
        server, path = self.server, self.path.partition("?")[0]
        server.requests.append((self.command, self.path))
        server.tokens.add(self.headers["Authorization"])
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        if server.failures:
            status = server.failures.pop(0)
            return self._answer(status, {"message": "Resource not accessible by integration"})
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self._answer(401, {"message": "Bad credentials"})
        one = re.fullmatch(r"/repos/owner/name/issues/comments/(\d+)", path)
        if path == "/repos/owner/name/issues/7/comments" and self.command == "GET":
            page = int(re.search(r"[?&]page=(\d+)", self.path)[1])
            return self._answer(200, server.comments[100 * (page - 1) : 100 * page])
        if path == "/repos/owner/name/issues/7/comments" and self.command == "POST":
            server.comments.append({"id": len(server.comments) + 1, **body})
            return self._answer(201, server.comments[-1])
        if one and self.command == "PATCH":
            if int(one[1]) in server.locked:
                return self._answer(403, {"message": "Not yours"})
            server.comments[int(one[1]) - 1] |= body
            return self._answer(200, server.comments[int(one[1]) - 1])
        return self._answer(404, {"message": "Not Found"})

    do_GET = do_POST = do_PATCH = _do  # noqa: N815  (the standard library's names)

    def _answer(self, status, value):
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def fake_github() -> Iterator[FakeGitHub]:
    """The server, while it runs."""
    server = FakeGitHub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def environment_of(server: FakeGitHub, folder) -> dict[str, str]:
    """What GitHub sets for a job of a pull request, with the files of the job in a folder."""
    (folder / "event.json").write_text('{"pull_request": {"number": 7}}', encoding="utf-8")
    return {
        "GITHUB_API_URL": f"http://127.0.0.1:{server.server_port}",
        "GITHUB_EVENT_PATH": str(folder / "event.json"),
        "GITHUB_REPOSITORY": "owner/name",
        "GITHUB_RUN_ID": "5",
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GITHUB_TOKEN": TOKEN,
    }
