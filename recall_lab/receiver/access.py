"""Decide who may connect, from the upgrade request alone.

Nothing is asked on this machine's own address. A receiver that can be reached from outside
demands a signature made with the workspace's secret, or a token in the URL, or both.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec
from pydantic import SecretStr
from websockets.datastructures import Headers

from recall_lab.configuration import configured, hidden
from recall_lab.control.settings import Settings
from recall_lab.errors import InvalidArgument
from recall_lab.wire.signature import (
    FAMILIES,
    SECRET_VALID,
    TOKEN_VALID,
    TOLERANCE,
    is_one_of,
    is_secret,
    is_token,
    make_token,
    token_in,
    verify,
)

Secret = str | SecretStr
Secrets = Secret | Sequence[Secret] | None

_NAMES: Final = [
    f"{family}-{part}" for family in FAMILIES for part in ("id", "timestamp", "signature")
]


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What a receiver demands of those who connect. Never shown, and written nowhere.

    Attributes:
        secrets: of workspaces, ``whsec_...``; one of them must have signed the request.
        tokens: one of them must be in the URL.
        made: the token was made by us, for whoever did not bring one.
        replay_check: a signed request is good only once.
    """

    secrets: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    made: bool = False
    replay_check: bool = False

    @classmethod
    def checked(
        cls,
        secret: Secrets = None,
        token: Secrets | bool = None,
        *,
        replay_check: bool = False,
        public: str = "",
    ) -> Access:
        """Return what is to be demanded, or raise for what can't be.

        Args:
            secret: one or, while it is being replaced, several.
            token: one or several; True has one made, False wants none.
            replay_check: whether a signed request is good only once.
            public: how the receiver can be reached from outside, in words; ``""`` when it can't.
                One that can takes what is not given from the environment, and needs something.

        Raises:
            InvalidArgument: for a secret or a token that is none, or where one is needed.
        """
        secrets = _hidden("secret", secret)
        made = token is True
        tokens = [hidden(make_token())] if made else _hidden("token", token or None)
        if public and secret is None:
            several = configured().recall_workspace_verification_secret or SecretStr("")
            secrets = [SecretStr(one) for one in several.get_secret_value().split()]
        if public and token is None:
            tokens = _hidden("token", configured().recall_lab_token)
        secret = token = None  # a traceback may show what is in them
        for name, given, fine, valid in (
            ("secret", secrets, is_secret, SECRET_VALID),
            ("token", tokens, is_token, TOKEN_VALID),
        ):
            if not all(fine(one.get_secret_value()) for one in given):
                raise InvalidArgument(name, SecretStr("***"), valid)
        access = cls(
            secrets=tuple(one.get_secret_value() for one in secrets),
            tokens=tuple(one.get_secret_value() for one in tokens),
            made=made,
            replay_check=bool(replay_check),
        )
        if public and not access.auth_required:
            raise InvalidArgument(
                "secret, token", (None, None),
                f"one of them, as {public}: RECALL_WORKSPACE_VERIFICATION_SECRET in the "
                "environment or .env, from Recall.ai's dashboard; or token=True (in a terminal "
                "--token) to have a token made, which goes into the bot's URL (rx.bot_url)",
            )  # fmt: skip
        return access

    @property
    def auth_required(self) -> bool:
        """Whether anything is demanded at all."""
        return bool(self.secrets or self.tokens)

    @property
    def words(self) -> str:
        """What is demanded, in words; ``""`` for nothing."""
        parts = ["a signature"] * bool(self.secrets) + ["a token"] * bool(self.tokens)
        return " and ".join(parts)

    @property
    def token(self) -> str:
        """The token that goes into a bot's URL; ``""`` for none."""
        return self.tokens[0] if self.tokens else ""

    @property
    def fingerprint(self) -> str:
        """What tells two of them apart, and tells nothing of what is in them.

        Secrets and tokens are too long to be guessed from it. A token of our making is as good
        as another: a cell that is run again is to find the receiver it began.
        """
        if not self.auth_required:
            return ""
        parts = [*self.secrets, "|", *(["made"] if self.made else self.tokens)]
        digest = sha256(f"{' '.join(parts)} {self.replay_check}".encode()).hexdigest()
        return digest[:32]

    def __repr__(self) -> str:
        return f"Access(secrets={len(self.secrets)}, tokens={len(self.tokens)})"


class Authenticator:
    """Lets in or refuses, request by request."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._used: dict[str, float] = {}  # ids of signed requests, and until when they count

    def refusal(self, target: str, headers: Headers, now: float) -> tuple[str, str]:
        """Return why a request is not let in, ``""`` if it is, and the id that it gave.

        Never raises, whatever was sent.

        Args:
            target: path and query of the request.
            headers: its headers.
            now: seconds since 1970 UTC.

        Returns:
            One of ``origin``: a browser's, where nothing else is demanded; ``token``, ``unsigned``,
            ``malformed``, ``stale``, ``future``, ``forged``, ``replayed``, or ``""``.
        """
        access = self._access
        if headers.get_all("Origin") and not access.auth_required:
            return "origin", ""  # a page that somebody has open may not speak for a bot
        if access.tokens and not is_one_of(token_in(target) or "", access.tokens):
            return "token", ""
        if not access.secrets:
            return "", ""
        sent = {name: headers.get_all(name) for name in _NAMES}
        verdict = verify(sent, access.secrets, now)
        if not verdict.genuine:
            return verdict.outcome, verdict.id
        if access.replay_check and not self._first(verdict.id, now):
            return "replayed", verdict.id
        return "", verdict.id

    def _first(self, id: str, now: float) -> bool:
        """Note an id; tell whether it had not been used. Only genuine ones get here."""
        while self._used and next(iter(self._used.values())) < now:
            del self._used[next(iter(self._used))]
        if id in self._used:
            return False
        self._used[id] = now + 2 * TOLERANCE
        return True


def with_access(settings: Settings, access: Access) -> Settings:
    """Return settings with the fingerprint of what is demanded in them."""
    return msgspec.structs.replace(settings, access=access.fingerprint)


def with_token(url: str, token: str) -> SecretStr:
    """Return where a bot is to connect: the address, and the token if there is one."""
    return SecretStr(f"{url}?token={token}" if token else url)


def hidden_all(given: Any) -> Any:
    """Return secrets as they were given, but so that they show as ``***``.

    The first thing to do with them: whatever fails later shows what is in variables. What is no
    text is left as it is.
    """
    if isinstance(given, str):
        return hidden(given)
    if isinstance(given, list | tuple):
        return [hidden(one) if isinstance(one, str) else one for one in given]
    return given


def _hidden(name: str, given: Secrets | bool) -> list[SecretStr]:
    """Return what was given as secrets.

    Raises:
        InvalidArgument: for what is no text.
    """
    if given is None:
        return []
    several = given if isinstance(given, list | tuple) else [given]
    if not all(isinstance(one, str | SecretStr) for one in several):
        kinds = ", ".join(type(one).__name__ for one in several)
        raise InvalidArgument(name, kinds, "a text or a SecretStr, or a list of them")
    return [hidden(one) for one in several]
