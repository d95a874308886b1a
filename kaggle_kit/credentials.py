"""Kaggle credentials: where the client finds them, and their removal from all output."""

import base64
import errno
import json
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

SECRET_VALUE = re.compile(r'"[^"]*(?:key|token|secret)[^"]*"\s*:\s*"([^"]+)"')
MIN_SECRET_LENGTH = 8  # shorter values are not Kaggle's and occur in ordinary text
HIDDEN = "[hidden]"
START = 16  # characters of a secret by which a part of it is found
# What a token, a key or a signature consists of, also percent-encoded or in base64.
VALUE = r"[\w.~%+/=:@!*-]"
QUOTE = r"\\?[\"']"  # also within a quoted text
NAME = (  # of a value that must not be shown, such as X-Amz-Signature or KAGGLE_KEY
    r"(?:[\w.-]*[-_.])?(?:sig|signature|credentials?|tokens?|keys?|secrets?|passw(?:or)?d|"
    r"pwd|auth|cookie|(?:api|access|auth|refresh|id|session|client|private|secret|"
    r"security|bearer)_?(?:key|token|secret)(?:id)?|awsaccesskeyid|googleaccessid)"
)
URL = re.compile(r"(https?://[^\s?#\"'\\]*)(\?[^\s\"')\\]+)?")
# The order matters: an address is cut off before its parts are looked at. Each pattern reads
# a text once, whatever it is.
PATTERNS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(://)[^\s/?#\"'@\\]+@", rf"\1{HIDDEN}@"),  # user and password
        (r"[?#][\w.~%-]+=[^\s\"')\\]*", "?..."),  # also without a host
        (
            rf"(?i)\b(authorization{QUOTE}?\s*[:=]\s*{QUOTE}?)([a-z]+ +)?[^\s\"'\\,;]+",
            rf"\1{HIDDEN}",
        ),
        (rf"KGAT_{VALUE}*", HIDDEN),
        (rf"(?i)\b(bearer\s+){VALUE}{{8,}}", rf"\1{HIDDEN}"),
        (rf"(?i)\b(basic\s+)(?=\S{{0,60}}[\d=]){VALUE}{{8,}}", rf"\1{HIDDEN}"),
        (
            rf"(?i)((?<![\w.-]){NAME}{QUOTE}?\s*[:=]\s*{QUOTE})[^\"'\\]+",
            rf"\1{HIDDEN}",
        ),
        (rf"(?i)((?<![\w.-]){NAME}=){VALUE}{{8,}}", rf"\1{HIDDEN}"),
        (
            rf"(?i)((?<![\w.-]){NAME}:\s*)(?=\S{{0,60}}\d){VALUE}{{16,}}",
            rf"\1{HIDDEN}",
        ),
    )
)


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
    """The text without keys, tokens, passwords and the query strings of signed URLs.

    The user's own secrets are hidden wherever they are, also in base64, percent-encoded,
    or cut off at the end. Those of others are found by their form, or by the name before
    them.

    >>> redact("GET http://storage/a.zip?X-Signature=abc failed")
    'GET http://storage/a.zip?... failed'
    >>> redact('with url: /a.zip?sig=1 (KAGGLE_KEY=0123456789, {"token": "a-b"})')
    'with url: /a.zip?... (KAGGLE_KEY=[hidden], {"token": "[hidden]"})'
    """
    return _hide(text, _own_forms())


def redact_file(path: Path) -> None:
    """Hide the secrets in a text file that is kept, line by line."""
    forms = _own_forms()
    part = path.with_name(f"{path.name}.part")
    changed = False
    with path.open("rb") as file, part.open("wb") as out:
        for content in file:
            line = content.decode("utf-8", "surrogateescape")
            shown = _hide(line, forms)
            changed = changed or shown != line
            out.write(shown.encode("utf-8", "surrogateescape"))
    if changed:
        part.replace(path)
    else:
        part.unlink()


def holds_secret(text: str) -> bool:
    """Whether a text holds one of the user's secrets, or a token of Kaggle."""
    return "KGAT_" in text or any(form in text for form in _own_forms())


def _hide(text: str, forms: Sequence[str]) -> str:
    """Replace secrets; ``forms`` are the user's own, the longest first."""
    for form in forms:
        text = text.replace(form, HIDDEN)
        if form[:START] in text:
            text = re.sub(rf"{re.escape(form[:START])}{VALUE}*", HIDDEN, text)
    text = URL.sub(lambda match: match[1] + ("?..." if match[2] else ""), text)
    for pattern, replacement in PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def _own_forms() -> list[str]:
    """The user's secrets in all forms they may have, the longest first."""
    forms: set[str] = set()
    for source in sources():
        values = [source.secret]
        if source.kind == "login":
            values = SECRET_VALUE.findall(source.secret)
        for value in values:
            if len(value) < MIN_SECRET_LENGTH:
                continue
            basic = f"{source.username}:{value}" if source.username else value
            encoded = base64.b64encode(basic.encode()).decode()
            forms |= {value, quote(value, safe=""), encoded}
    return sorted(forms, key=len, reverse=True)


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
