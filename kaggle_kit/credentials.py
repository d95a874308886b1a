"""Kaggle credentials: where the client finds them, and their removal from all output."""

import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

SIGNED_URL = re.compile(r"(https?://[^\s?\"']+)\?[^\s\"')]+")
AUTHORIZATION = re.compile(r"(?i)(authorization['\"]?\s*[:=]\s*)\S+(\s+[\w+/=.-]{8,})?")
TOKEN = re.compile(r"KGAT_\w+")
SECRET_VALUE = re.compile(r'"[^"]*(?:key|token|secret)[^"]*"\s*:\s*"([^"]+)"')
MIN_SECRET_LENGTH = 8  # shorter values are not Kaggle's and occur in ordinary text


@dataclass(frozen=True)
class Source:
    """A file or variable with credentials that the client would use.

    Attributes:
        kind: "token", "key" or "login".
        secret: used only to search for it; it is never printed or logged.
        path: the file; None for a variable.
    """

    name: str
    kind: str
    username: str | None
    secret: str
    path: Path | None = None

    @property
    def open_to_others(self) -> bool:
        """Whether other users of the machine can read the file."""
        mode = self.path.stat().st_mode if self.path else 0
        return bool(mode & (stat.S_IRGRP | stat.S_IROTH))


def sources() -> list[Source]:
    """All sources of credentials, in the order in which the client tries them."""
    candidates = [_environment_token(), *_token_files(), _environment_key()]
    candidates += [_key_file(), _login_file()]
    return [source for source in candidates if source]


def config_dir() -> Path:
    """The client's folder: KAGGLE_CONFIG_DIR, ~/.kaggle, or kaggle in XDG_CONFIG_HOME."""
    if os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(os.environ["KAGGLE_CONFIG_DIR"])
    home = Path.home() / ".kaggle"
    xdg = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return home if home.exists() else Path(xdg) / "kaggle"


def username() -> str | None:
    """The user of the first source that names one, without asking Kaggle."""
    return next((s.username for s in sources() if s.username), None)


def secrets() -> dict[str, str]:
    """All of the user's Kaggle secrets, each with the name of its source."""
    origins: dict[str, str] = {}
    for source in sources():
        values = [source.secret]
        if source.kind == "login":
            values = SECRET_VALUE.findall(source.secret)
        long_enough = [value for value in values if len(value) >= MIN_SECRET_LENGTH]
        origins |= dict.fromkeys(long_enough, source.name)
    return origins


def redact(text: str) -> str:
    """The text without keys, tokens and the query strings of signed URLs.

    >>> redact("GET http://storage/a.zip?X-Signature=abc failed")
    'GET http://storage/a.zip?... failed'
    """
    for secret in sorted(secrets(), key=len, reverse=True):
        text = text.replace(secret, "[hidden]")
    text = TOKEN.sub("[hidden]", SIGNED_URL.sub(r"\1?...", text))
    return AUTHORIZATION.sub(r"\1[hidden]", text)


def _environment_token() -> Source | None:
    value = os.environ.get("KAGGLE_API_TOKEN")
    if not value:
        return None
    path = Path(value)
    try:
        if path.is_file():
            return Source("KAGGLE_API_TOKEN", "token", None, _read_secret(path), path)
    except OSError:  # the value is a token and too long for a path
        pass
    return Source("KAGGLE_API_TOKEN", "token", None, value)


def _token_files() -> list[Source]:
    home = Path.home() / ".kaggle"
    paths = [home / "access_token", home / "access_token.txt"]
    return [
        Source(str(path), "token", None, _read_secret(path), path)
        for path in paths
        if path.is_file()
    ]


def _environment_key() -> Source | None:
    name, key = os.environ.get("KAGGLE_USERNAME"), os.environ.get("KAGGLE_KEY")
    return Source("KAGGLE_USERNAME and KAGGLE_KEY", "key", name, key) if key else None


def _key_file() -> Source | None:
    path = config_dir() / "kaggle.json"
    try:
        values = json.loads(path.read_text("utf-8"))
        return Source(str(path), "key", values["username"], values["key"], path)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _login_file() -> Source | None:
    path = Path.home() / ".kaggle" / "credentials.json"
    if not path.is_file():
        return None
    return Source(str(path), "login", None, _read_secret(path), path)


def _read_secret(path: Path) -> str:
    return path.read_text("utf-8", "replace").strip()
