"""The address of a server: checked before anything is sent, and shown without anything that may be a secret."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from retain.errors import InputError

SCHEMES = ("http://", "https://")


def is_address(source: str) -> bool:
    """Tell whether a text is the address of a server and no folder or hub id."""
    return source.strip().lower().startswith(SCHEMES)


@dataclass(frozen=True)
class Address:
    """Where a server's API is.

    Attributes:
        url: of the API, as `http://127.0.0.1:8000/v1`, without a slash at its end.
    """

    url: str

    @classmethod
    def parse(cls, text: str, field: str) -> Address:
        """Read an address.

        Args:
            text: as it was given.
            field: names it in a refusal.

        Raises:
            InputError: it is no address, or it holds a password, a query or a fragment.
        """
        try:
            parts = urlsplit(text.strip())
            port = parts.port
        except ValueError as error:
            raise InputError(f"{field}: this is no address of a server ({error}); say http://HOST:PORT/v1.") from error
        if parts.username or parts.password or "@" in parts.netloc:
            raise InputError(
                f"{field}: the address holds a user name or a password, which would stand in records and logs; leave "
                "it out and put the key into the environment (OPENAI_API_KEY, or --key-variable NAME)."
            )
        if parts.query or parts.fragment:
            raise InputError(
                f"{field}: the address has a part behind ? or #, which may hold a key; give it as http://HOST:PORT/v1, "
                "and the key in the environment (OPENAI_API_KEY, or --key-variable NAME)."
            )
        if f"{parts.scheme}://" not in SCHEMES or not parts.hostname:
            raise InputError(f"{field}: {text!r} is no address of a server; say http://HOST:PORT/v1.")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        where = host if port is None else f"{host}:{port}"
        return cls(f"{parts.scheme}://{where}{parts.path.rstrip('/')}")

    @property
    def root(self) -> str:
        """The address without /v1 at its end: there servers have what OpenAI's protocol does not know."""
        return self.url.removesuffix("/v1")

    @property
    def hint(self) -> str:
        """A clause for an address that does not end as most do."""
        return "" if self.url.endswith("/v1") else "; most servers have it at an address with /v1 at its end"

    @property
    def is_here(self) -> bool:
        """True for this machine, to which no proxy is asked the way."""
        name = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return name == "localhost" or name.endswith(".localhost")

    @property
    def is_open(self) -> bool:
        """True where others on the way can read what is sent."""
        return self.url.startswith("http://") and not self.is_here
