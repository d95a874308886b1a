"""Kaggle credentials: where the client finds them, and their removal from all output."""

import errno
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


def home_dir() -> Path | None:
    """The user's home folder; None without one: no HOME, and no entry of the user."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def sources() -> list[Source]:
    """All sources of credentials, in the order in which the client tries them.

    A file that this user may not read is none.
    """
    candidates = [_environment_token(), *_token_files(), _environment_key()]
    candidates += [_key_file(), _login_file()]
    return [source for source in candidates if source]


def config_dir() -> Path | None:
    """The client's folder: KAGGLE_CONFIG_DIR, ~/.kaggle, or kaggle in XDG_CONFIG_HOME.

    None if neither these variables nor a home folder are there.
    """
    if os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(os.environ["KAGGLE_CONFIG_DIR"])
    home, xdg = home_dir(), os.environ.get("XDG_CONFIG_HOME")
    if home and os.path.exists(home / ".kaggle"):
        return home / ".kaggle"
    return Path(xdg, "kaggle") if xdg else home and home / ".config" / "kaggle"


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
        return Source("KAGGLE_API_TOKEN", "token", None, _read_secret(path), path)
    except OSError:  # the value is a token, and no path or too long for one
        return Source("KAGGLE_API_TOKEN", "token", None, value)


def _token_files() -> list[Source]:
    home = home_dir()
    names = ("access_token", "access_token.txt") if home else ()
    found = [_read_file(Path(home or "", ".kaggle", name), "token") for name in names]
    return [source for source in found if source]


def _environment_key() -> Source | None:
    name, key = os.environ.get("KAGGLE_USERNAME"), os.environ.get("KAGGLE_KEY")
    return Source("KAGGLE_USERNAME and KAGGLE_KEY", "key", name, key) if key else None


def _key_file() -> Source | None:
    folder = config_dir()
    if folder is None:
        return None
    path = folder / "kaggle.json"
    try:
        values = json.loads(_read_secret(path))
        name, key = str(values["username"]), str(values["key"])
        return Source(str(path), "key", name, key, path)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _login_file() -> Source | None:
    home = home_dir()
    return _read_file(home / ".kaggle" / "credentials.json", "login") if home else None


def _read_file(path: Path, kind: str) -> Source | None:
    """The source that a file is; None if it is not there or may not be read."""
    try:
        return Source(str(path), kind, None, _read_secret(path), path)
    except OSError:
        return None


def _read_secret(path: Path) -> str:
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would block
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.read_text("utf-8", "replace").strip()
