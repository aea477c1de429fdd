"""Read secrets and settings of the user from the environment or from ``.env``.

=====================================  =========================================================
variable                               what it is
=====================================  =========================================================
RECALL_API_KEY                         key of Recall.ai's REST API; belongs to one region
RECALL_REGION                          that region, such as ``us-west-2``
RECALL_WORKSPACE_VERIFICATION_SECRET   ``whsec_...``, signs the bots' connections; several, with
                                       spaces between them, while it is being rotated
RECALL_LAB_TOKEN                       the token in the URL that bots connect to
NGROK_AUTHTOKEN                        of an account at ngrok
=====================================  =========================================================

The environment goes before ``.env``, which is looked for in the working directory. Secrets are
:class:`pydantic.SecretStr`: they show as ``***`` wherever they are printed.
"""

from __future__ import annotations

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from recall_lab.errors import MissingSetting


class Configuration(BaseSettings):
    """The settings of a user, by the names of their variables; None where not set."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", env_ignore_empty=True)

    recall_api_key: SecretStr | None = None
    recall_region: str | None = None
    recall_workspace_verification_secret: SecretStr | None = None
    recall_lab_token: SecretStr | None = None
    ngrok_authtoken: SecretStr | None = None


def configured() -> Configuration:
    """Return the settings as they are now.

    Raises:
        MissingSetting: when the file can't be read.
    """
    try:
        return Configuration()
    except (OSError, ValueError) as error:  # of a file that is no text, say; never repeated
        kind = type(error).__name__
    raise MissingSetting(".env", f"whatever is configured there (it can't be read: {kind})")


def hidden(value: object) -> SecretStr:
    """Return what is secret so that it shows as ``***``: the first thing to do with it."""
    return value if isinstance(value, SecretStr) else SecretStr(str(value))


def secret_setting(name: str, needed_for: str) -> SecretStr:
    """Return a secret, as it is set now.

    Args:
        name: an attribute of :class:`Configuration`.
        needed_for: what it is needed for, in words.

    Raises:
        MissingSetting: when it is not set.
    """
    value = getattr(configured(), name)
    if not isinstance(value, SecretStr) or not value.get_secret_value():
        raise MissingSetting(name.upper(), needed_for)
    return value
