"""Whether all is there that a competitor needs, and what to do about what is not."""

import logging
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from kaggle_kit import credentials
from kaggle_kit.errors import KitError
from kaggle_kit.kaggle import client
from kaggle_kit.rehearsal.kaggle_image import PYTHON, VERSIONS

logger = logging.getLogger(__name__)
GIGABYTES = 250  # the competition's archive and what it unpacks to
LITTLE_GB = 10
SOUND = (2, 2, 5)  # from here on the client does not lose things without saying so


class Check(NamedTuple):
    """One line of the doctor's."""

    name: str
    ok: bool
    found: str
    do: str = ""  # what to do about it; a piece of advice where ok


def doctor(slug: str) -> dict[str, Any]:
    """Look at client, credentials, rules, quota, disk and versions.

    Returns:
        ok: whether all checks passed. checks: each with what was found and what to do.
    """
    checks: list[Check] = []
    for look in (_client, _credentials, _token, _files, _proxy):
        checks += look()
    asked: list[tuple[str, Callable[[str], Check]]] = [
        ("competition", _competition),
        ("submissions", _submissions),
        ("GPU quota", _quota),
    ]
    for name, ask in asked:
        try:
            checks.append(ask(slug))
        except KitError as error:
            checks.append(Check(name, False, str(error), "see the lines above"))
    checks += [_disk(), _python(), *_versions()]
    for check in checks:
        advice = f" -> {check.do}" if check.do else ""
        logger.info(
            "%-4s %s: %s%s",
            "ok" if check.ok else "FAIL",
            check.name,
            check.found,
            advice,
        )
    return {
        "ok": all(check.ok for check in checks),
        "checks": [check._asdict() for check in checks],
    }


def _client() -> list[Check]:
    install = "pip install 'kaggle-kit[kaggle]'"
    try:
        command = [client.program(), "--version"]
    except KitError as error:
        return [Check("client", False, str(error), install)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Kaggle CLI (\d+)\.(\d+)\.(\d+)", done.stdout)
    if not found:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        return [Check("client", False, credentials.hidden(said), install)]
    version = tuple(map(int, found.groups()))
    if version[:2] != (2, 2):
        return [
            Check("client", False, found[0], "pip install 'kaggle>=2.2.4,<2.3' six")
        ]
    advice = (
        "" if version >= SOUND else "2.2.5 says of more failures that they are ones"
    )
    return [Check("client", True, found[0], advice)]


def _credentials() -> list[Check]:
    found = credentials.sources()
    if not found:
        return [
            Check(
                "credentials",
                False,
                "none",
                f"make a token on {client.WEB}/settings/api and save it to "
                f"~/.kaggle/access_token (chmod 600), or run kaggle auth login",
            )
        ]
    more = ", ".join(source.name for source in found[1:])
    shown = f"{found[0].kind} of {found[0].name}" + (f"; then {more}" if more else "")
    return [Check("credentials", True, shown)]


def _token() -> list[Check]:
    """A bad token in the environment spoils good ones elsewhere: the client goes on to
    the next source and then sends the token all the same."""
    found = credentials.sources()
    if len(found) < 2 or found[0].name != "KAGGLE_API_TOKEN":
        return []
    return [
        Check(
            "one source",
            False,
            f"KAGGLE_API_TOKEN and {found[1].name}",
            "keep one: unset KAGGLE_API_TOKEN, or take the other away",
        )
    ]


def _files() -> list[Check]:
    return [
        Check("file mode", False, f"{s.path} is open to others", f"chmod 600 {s.path}")
        for s in credentials.sources()
        if s.open_to_others
    ]


def _proxy() -> list[Check]:
    names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    found = [name for name in names if os.environ.get(name)]
    return [Check("proxy", True, f"{', '.join(found)} is set")] if found else []


def _competition(slug: str) -> Check:
    client.call("competitions", "files", slug, "--page-size", "1")
    return Check("competition", True, f"{slug}: rules accepted")


def _submissions(slug: str) -> Check:
    limits = client.call_json("competitions", "submission-limits", slug, "--json") or {}
    left = limits.get("numAllowedNow", 0)
    do = "" if left else "submit again tomorrow (UTC)"
    return Check("submissions", bool(left), f"{left} left today", do)


def _quota(slug: str) -> Check:
    rows = client.call_json("quota", "--format", "json") or []
    gpu = next((row for row in rows if row["resource"] == "GPU"), None)
    if gpu is None:
        return Check("GPU quota", True, "not said")
    left = float(gpu["remaining"].rstrip("h"))
    do = "" if left >= 1 else f"wait until {gpu['refreshAt']}"
    return Check("GPU quota", left >= 1, f"{left:g} h left of {gpu['total']}", do)


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    found = f"{free:.0f} GB free here"
    if free < LITTLE_GB:
        return Check("disk", False, found, f"free {LITTLE_GB} GB, or work elsewhere")
    do = "" if free > GIGABYTES else "enough for a subset: kaggle-kit download --subset"
    return Check("disk", True, found, do)


def _python() -> Check:
    found = platform.python_version()
    same = found.startswith(f"{PYTHON}.")
    return Check("python", True, found, "" if same else f"Kaggle's image has {PYTHON}")


def _versions() -> list[Check]:
    """The packages whose files must be read by Kaggle's image, by major and minor."""
    checks = []
    for name, wanted in VERSIONS.items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            checks.append(Check(name, False, "none", f"pip install {name}=={wanted}"))
            continue
        same = found.split(".")[:2] == wanted.split(".")[:2]
        do = "" if same else f"pip install -c constraints.txt {name}=={wanted}"
        checks.append(Check(name, same, f"{found}, Kaggle's image {wanted}", do))
    return checks
