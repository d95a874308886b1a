"""Kaggle's credentials: where the client finds them, and that no text shows them."""

import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

ADDRESS = re.compile(r"(https?://[^\s?\"']+)\?[^\s\"')]+")
BEARER = re.compile(r"(?i)(authorization['\"]?\s*[:=]\s*)\S+(\s+[\w+/=.-]{8,})?")
TOKEN = re.compile(r"KGAT_\w+")
SECRET_VALUE = re.compile(r'"[^"]*(?:key|token|secret)[^"]*"\s*:\s*"([^"]+)"')
SHORTEST = 8  # less is no secret of Kaggle's, and is found in any text


@dataclass(frozen=True)
class Source:
    """A place with credentials that the client would look at.

    ``secret`` never leaves this module but to be looked for.
    """

    name: str
    kind: str  # token, key or login
    username: str | None
    secret: str
    path: Path | None = None

    @property
    def open_to_others(self) -> bool:
        """Whether other users of the machine can read the file."""
        mode = self.path.stat().st_mode if self.path else 0
        return bool(mode & (stat.S_IRGRP | stat.S_IROTH))


def sources() -> list[Source]:
    """Where credentials are, in the order in which the client takes them."""
    found = [_token_of_environment(), *_token_files(), _key_of_environment()]
    found += [_key_file(), _login_file()]
    return [source for source in found if source]


def config_dir() -> Path:
    """The client's folder: KAGGLE_CONFIG_DIR, ~/.kaggle, or below XDG_CONFIG_HOME."""
    if os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(os.environ["KAGGLE_CONFIG_DIR"])
    home = Path.home() / ".kaggle"
    other = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return home if home.exists() else Path(other) / "kaggle"


def username() -> str | None:
    """Whose credentials win, where that can be told without asking Kaggle."""
    return next((s.username for s in sources() if s.username), None)


def secrets() -> dict[str, str]:
    """Every secret of the user's for Kaggle, and where it was found."""
    found: dict[str, str] = {}
    for source in sources():
        values = [source.secret]
        if source.kind == "login":
            values = SECRET_VALUE.findall(source.secret)
        found |= {value: source.name for value in values if len(value) >= SHORTEST}
    return found


def hidden(text: str) -> str:
    """A text without keys, tokens and the signatures of addresses.

    >>> hidden("GET http://storage/a.zip?X-Signature=abc failed")
    'GET http://storage/a.zip?... failed'
    """
    for secret in sorted(secrets(), key=len, reverse=True):
        text = text.replace(secret, "[hidden]")
    text = TOKEN.sub("[hidden]", ADDRESS.sub(r"\1?...", text))
    return BEARER.sub(r"\1[hidden]", text)


def _token_of_environment() -> Source | None:
    value = os.environ.get("KAGGLE_API_TOKEN")
    if not value:
        return None
    path = Path(value)
    try:
        if path.is_file():
            return Source("KAGGLE_API_TOKEN", "token", None, _text(path), path)
    except OSError:  # a token is no path
        pass
    return Source("KAGGLE_API_TOKEN", "token", None, value)


def _token_files() -> list[Source]:
    home = Path.home() / ".kaggle"
    paths = [home / "access_token", home / "access_token.txt"]
    return [
        Source(str(path), "token", None, _text(path), path)
        for path in paths
        if path.is_file()
    ]


def _key_of_environment() -> Source | None:
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
    return Source(str(path), "login", None, _text(path), path)


def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace").strip()
