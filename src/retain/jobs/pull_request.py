"""A comment on a pull request through GitHub's REST interface: one a check, brought up to date by each run.

Whatever goes wrong here is told in a sentence and is no error: a verdict does not depend on who may comment.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retain.errors import InputError, RetainError
from retain.records.reading import parse_json, read_json_mapping

PAGE = 100
"""Comments asked for at once; the most that GitHub gives."""

MOST_PAGES = 50
SECONDS = 30.0
TRIES = 3
BUSY = frozenset({429, 500, 502, 503, 504})
LONGEST_WAIT = 20.0
"""Seconds waited at most before another try."""

_CURES = {
    401: "the token is not valid there",
    403: "give the job `permissions: pull-requests: write`; in a pull request from a fork the token may only read",
    404: "give the job `permissions: pull-requests: write`, and see that GITHUB_REPOSITORY names the repository",
    410: "comments are locked or deleted there",
    422: "GitHub does not take the comment as it is",
}


class GitHubError(RetainError):
    """GitHub did not do what it was asked.

    Attributes:
        status: the HTTP status; 0 where there was no answer.
    """

    def __init__(self, status: int, told: str) -> None:
        self.status = status
        super().__init__(told)


@dataclass(frozen=True)
class PullRequest:
    """A pull request, and who may comment on it.

    Attributes:
        api: address of the interface.
        repository: owner/name.
        number: of the pull request.
        token: is sent there and nowhere else.
    """

    api: str
    repository: str
    number: int
    token: str

    def comment(self, text: str, marker: str) -> str:
        """Write a comment, or bring the one up to date that begins with the marker; what was done, in a sentence.

        Args:
            text: of the comment, beginning with the marker.
            marker: see `retain.report.page.pull_request.marker`.

        Raises:
            GitHubError: it could not be done.
        """
        place = f"/repos/{self.repository}/issues"
        for known in self._comments():
            if str(known.get("body") or "").startswith(marker):
                try:
                    self._send("PATCH", f"{place}/comments/{known['id']}", {"body": text})
                except GitHubError as error:
                    if error.status not in {403, 404}:  # somebody else's, or gone meanwhile
                        raise
                    continue
                return f"the comment on pull request {self.number} was brought up to date"
        self._send("POST", f"{place}/{self.number}/comments", {"body": text})
        return f"pull request {self.number} has a comment"

    def _comments(self) -> Iterator[Mapping[str, Any]]:
        for page in range(1, MOST_PAGES + 1):
            path = f"/repos/{self.repository}/issues/{self.number}/comments?per_page={PAGE}&page={page}"
            found = self._send("GET", path)
            if not isinstance(found, list):
                raise GitHubError(0, "GitHub answered with something else than a list of comments")
            yield from (one for one in found if isinstance(one, dict) and "id" in one)
            if len(found) < PAGE:
                return

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """One request, tried again where GitHub is busy.

        Raises:
            GitHubError: it was refused, or there was no answer.
        """
        request = urllib.request.Request(  # noqa: S310  (the address is the runner's own)
            f"{self.api.rstrip('/')}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {self.token}",
                "Content-Type": "application/json",
                "User-Agent": "retain",
                "X-GitHub-Api-Version": "2022-11-28",
            },
        )
        for left in range(TRIES - 1, -1, -1):
            try:
                with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310  (likewise)
                    return parse_json(answer.read(), f"the answer of {self.api}")
            except urllib.error.HTTPError as error:
                if error.code not in BUSY or not left:
                    raise GitHubError(error.code, _refused(error)) from error
                time.sleep(_wait(error.headers.get("Retry-After")))
            except InputError as error:
                raise GitHubError(0, str(error)) from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                if not left or isinstance(error, ValueError):
                    reason = getattr(error, "reason", None) or error
                    raise GitHubError(0, f"{self.api} gave no answer ({reason})") from error
                time.sleep(_wait(None))
        raise AssertionError("unreachable")


def _wait(stated: str | None) -> float:
    """Seconds to wait, as the server states them, within reason."""
    return min(float(stated), LONGEST_WAIT) if stated and stated.isdigit() else 1.0


def _refused(error: urllib.error.HTTPError) -> str:
    """What GitHub answered, and what to do."""
    try:
        said = parse_json(error.read(), "")
    except (InputError, OSError, http.client.HTTPException):
        said = {}
    message = str(said.get("message", "")) if isinstance(said, dict) else ""
    cure = _CURES.get(error.code, "")
    told = f"GitHub answered {error.code}" + (f" ({message[:200]})" if message else "")
    return f"{told}: {cure}" if cure else told


def pull_request_of(environment: Mapping[str, str]) -> PullRequest | str:
    """The pull request that a GitHub Actions job runs for, from its environment; a clause on why there is none.

    Args:
        environment: GITHUB_TOKEN, GITHUB_REPOSITORY, GITHUB_EVENT_PATH, and GITHUB_API_URL.
    """
    missing = [name for name in ("GITHUB_TOKEN", "GITHUB_REPOSITORY", "GITHUB_EVENT_PATH") if not environment.get(name)]
    if missing:
        return f"{', '.join(missing)} is not set, so there is nothing to comment on"
    try:
        event = read_json_mapping(Path(environment["GITHUB_EVENT_PATH"]))
    except InputError as error:
        return str(error).rstrip(".")
    number = _number(event)
    if number is None:
        return "this run is for no pull request"
    api = environment.get("GITHUB_API_URL") or "https://api.github.com"
    return PullRequest(api, environment["GITHUB_REPOSITORY"], number, environment["GITHUB_TOKEN"])


def _number(event: Mapping[str, Any]) -> int | None:
    """The number of the pull request of an event: its own, of a comment on it, or of the workflow that ran for it."""
    issue, ran = event.get("issue"), event.get("workflow_run")
    found: list[Any] = [event.get("pull_request")]
    if isinstance(issue, dict) and issue.get("pull_request"):
        found.append(issue)
    if isinstance(ran, dict) and isinstance(ran.get("pull_requests"), list):
        found += ran["pull_requests"]
    numbers = [one.get("number") for one in found if isinstance(one, dict)]
    return next((number for number in numbers if type(number) is int), None)
