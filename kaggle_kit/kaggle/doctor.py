"""Check everything that entering the competition needs, and say how to fix failures."""

import logging
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from kaggle_kit import credentials
from kaggle_kit.errors import KitError
from kaggle_kit.kaggle import client, replies
from kaggle_kit.rehearsal.kaggle_image import PYTHON, VERSIONS

logger = logging.getLogger(__name__)
COMPETITION_GB = 250  # the competition's archive and its unpacked files
MIN_FREE_GB = 10
RELIABLE_CLIENT = (2, 2, 5)  # older clients report fewer failures


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Attributes:
        found: what was found.
        do: how to fix a failure; for a success, advice or empty.
    """

    name: str
    ok: bool
    found: str
    do: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The results of all checks.

    Attributes:
        ok: whether all checks passed.
    """

    ok: bool
    checks: list[Check]


def doctor(slug: str) -> Diagnosis:
    """Check client, credentials, rules, quota, disk and versions, and log each result.

    Args:
        slug: the competition whose rules and limits are checked.
    """
    checks: list[Check] = []
    for check_locally in (_client, _credentials, _token, _file_modes, _proxy):
        checks += check_locally()
    online: list[tuple[str, Callable[[str], Check]]] = [
        ("competition", _competition),
        ("submissions", _submissions),
        ("GPU quota", _quota),
    ]
    for name, check_online in online:
        try:
            checks.append(check_online(slug))
        except KitError as error:
            checks.append(Check(name, False, str(error), "see the lines above"))
    checks += [_disk(), _python(), *_versions()]
    for check in checks:
        status = "ok" if check.ok else "FAIL"
        advice = f" -> {check.do}" if check.do else ""
        logger.info("%-4s %s: %s%s", status, check.name, check.found, advice)
    return Diagnosis(all(check.ok for check in checks), checks)


def _client() -> list[Check]:
    install = "pip install 'kaggle-kit[kaggle]'"
    try:
        command = [client.executable(), "--version"]
    except KitError as error:
        return [Check("client", False, str(error), install)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    match = re.search(r"Kaggle CLI (\d+)\.(\d+)\.(\d+)", done.stdout)
    if not match:
        reason = (done.stderr.strip().splitlines() or ["no version"])[-1]
        return [Check("client", False, credentials.redact(reason), install)]
    version = tuple(map(int, match.groups()))
    if version[:2] != (2, 2):
        install = "pip install 'kaggle>=2.2.4,<2.3' six"
        return [Check("client", False, match[0], install)]
    advice = "" if version >= RELIABLE_CLIENT else "2.2.5 reports more failures"
    return [Check("client", True, match[0], advice)]


def _credentials() -> list[Check]:
    sources = credentials.sources()
    if not sources:
        return [
            Check(
                "credentials",
                False,
                "none",
                f"make a token on {client.WEB}/settings/api and save it to "
                f"~/.kaggle/access_token (chmod 600), or run kaggle auth login",
            )
        ]
    others = ", ".join(source.name for source in sources[1:])
    first = f"{sources[0].kind} of {sources[0].name}"
    return [Check("credentials", True, f"{first}; then {others}" if others else first)]


def _token() -> list[Check]:
    """Report a token in the environment beside other credentials.

    If Kaggle rejects the token, the client tries the next source, but sends the rejected
    token along with it. So valid credentials fail, too.
    """
    sources = credentials.sources()
    if len(sources) < 2 or sources[0].name != "KAGGLE_API_TOKEN":
        return []
    return [
        Check(
            "one source",
            False,
            f"KAGGLE_API_TOKEN and {sources[1].name}",
            "keep one: unset KAGGLE_API_TOKEN, or remove the other",
        )
    ]


def _file_modes() -> list[Check]:
    return [
        Check("file mode", False, f"others can read {s.path}", f"chmod 600 {s.path}")
        for s in credentials.sources()
        if s.open_to_others
    ]


def _proxy() -> list[Check]:
    names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    proxies = [name for name in names if os.environ.get(name)]
    return [Check("proxy", True, f"{', '.join(proxies)} is set")] if proxies else []


def _competition(slug: str) -> Check:
    client.call("competitions", "files", slug, "--page-size", "1")
    return Check("competition", True, f"{slug}: rules accepted")


def _submissions(slug: str) -> Check:
    left = replies.submission_limits(slug).left
    do = "" if left else "submit again tomorrow (UTC)"
    return Check("submissions", bool(left), f"{left} left today", do)


def _quota(slug: str) -> Check:
    quota = replies.gpu_quota()
    if quota is None:
        return Check("GPU quota", True, "Kaggle does not report it")
    enough = quota.left_h >= 1
    do = "" if enough else f"wait until {quota.refresh_at}"
    return Check("GPU quota", enough, f"{quota.left_h:g} h left of {quota.total}", do)


def _disk() -> Check:
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    found = f"{free_gb:.0f} GB free here"
    if free_gb < MIN_FREE_GB:
        do = f"free {MIN_FREE_GB} GB, or work on another disk"
        return Check("disk", False, found, do)
    do = "enough for a subset: kaggle-kit download --subset"
    return Check("disk", True, found, "" if free_gb > COMPETITION_GB else do)


def _python() -> Check:
    version = platform.python_version()
    same = version.startswith(f"{PYTHON}.")
    return Check(
        "python", True, version, "" if same else f"Kaggle's image has {PYTHON}"
    )


def _versions() -> list[Check]:
    """Compare the packages whose files Kaggle's image must read, by major and minor."""
    checks = []
    for name, expected in VERSIONS.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            do = f"pip install {name}=={expected}"
            checks.append(Check(name, False, "none", do))
            continue
        same = version.split(".")[:2] == expected.split(".")[:2]
        do = "" if same else f"pip install -c constraints.txt {name}=={expected}"
        checks.append(Check(name, same, f"{version}, Kaggle's image {expected}", do))
    return checks
