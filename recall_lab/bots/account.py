"""The account: key, region, base URL."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Self
from urllib.parse import urljoin

import httpx2
import msgspec
from pydantic import SecretStr

from recall_lab.bots.urls import shown
from recall_lab.configuration import configured, secret_setting
from recall_lab.errors import InvalidArgument, MissingSetting
from recall_lab.version import __version__
from recall_lab.wire.urls import is_loopback, split

REGIONS: Final = ("us-east-1", "us-west-2", "eu-central-1", "ap-northeast-1")
"""Where Recall.ai runs. A key belongs to one of them."""

_KEY: Final = re.compile(r"[!-~]{1,512}", re.ASCII)
_WORTH_HIDING: Final = 6  # characters: what is shorter may stand anywhere
_FOR: Final = "the REST API of Recall.ai"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The key, and where it is good.

    Attributes:
        key: of the API.
        base: what the paths of all requests are put to, ``https://.../api/v1/``.
        region: one of :data:`REGIONS`; ``""`` where a base URL was given instead.
        local: the API is a stand-in on this machine.
    """

    key: SecretStr
    base: str
    region: str = ""
    local: bool = False

    @classmethod
    def checked(
        cls, key: SecretStr | None, region: str | None, base_url: str | None = None
    ) -> Self:
        """Return the account of what is given, and of the configuration for what is not.

        Raises:
            MissingSetting: for what is neither given nor configured.
            InvalidArgument: for what can't be.
        """
        key = key or secret_setting("recall_api_key", _FOR)
        if not isinstance(key, SecretStr) or not _KEY.fullmatch(key.get_secret_value()):
            raise InvalidArgument(
                "api_key", "***", "the key as Recall.ai's dashboard shows it, without any spaces"
            )
        if base_url is not None:
            base = _checked_base(base_url)
            parts = split(base)
            local = parts is not None and is_loopback(parts.hostname or "")
            return cls(key=key, base=base, region=region or "", local=local)
        region = region or configured().recall_region
        if not region:
            raise MissingSetting("RECALL_REGION", _FOR)
        if region not in REGIONS:
            raise InvalidArgument("region", region, f"one of {', '.join(REGIONS)}")
        return cls(key=key, base=f"https://{region}.recall.ai/api/v1/", region=region)

    @property
    def place(self) -> str:
        """Where the key is used, in words."""
        return f"region {self.region}" if self.region else self.base

    def sign(self, request: httpx2.Request) -> httpx2.Request:
        """Put the key into a request, at the last moment."""
        request.headers["Authorization"] = f"Token {self.key.get_secret_value()}"
        return request

    def without_secrets(self, body: bytes, secrets: Iterable[SecretStr] = ()) -> bytes:
        """Return an answer with what is secret in the question taken out, should it repeat it."""
        for secret in (self.key, *secrets):
            value = secret.get_secret_value().encode()
            if len(value) >= _WORTH_HIDING:
                body = body.replace(value, b"***")
        return body

    def query_of(self, following: str, path: str) -> tuple[tuple[str, str], ...] | None:
        """Return the query of the page that follows, where it is one of the same list.

        The key goes nowhere else, whatever an answer says: None for any other URL.
        """
        here = self.base + path
        try:
            there = httpx2.URL(urljoin(here, following))
        except (httpx2.InvalidURL, ValueError):
            return None
        mine = httpx2.URL(here)
        same = (there.scheme, there.host, there.port, there.path, there.userinfo) == (
            mine.scheme, mine.host, mine.port, mine.path, b"",
        )  # fmt: skip
        return tuple(there.params.multi_items()) if same else None


def headers() -> dict[str, str]:
    """Return what every request says of us; answers are not compressed, so none is a bomb."""
    return {"User-Agent": f"recall_lab/{__version__}", "Accept-Encoding": "identity"}


def _checked_base(url: str) -> str:
    """Return a base URL that ends in ``/``.

    Raises:
        InvalidArgument: for what is none, or would send the key in the clear.
    """
    parts = split(url) if isinstance(url, str) else None
    if (
        parts is None
        or parts.scheme not in ("http", "https")
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
        or ".." in parts.path
    ):
        given = shown(SecretStr(url)) if isinstance(url, str) else url
        raise InvalidArgument("base_url", given, "a URL such as http://127.0.0.1:8000/api/v1/")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise InvalidArgument(
            "base_url", url, "https://, as the key would travel readable; http:// on this machine"
        )
    return url.rstrip("/") + "/"
