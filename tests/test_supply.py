"""What the kit requires: bounded, and under the licences that CONTRIBUTING.md lists."""

import re
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kaggle_kit.app.export import OPENCV, REQUIREMENTS

ROOT = Path(__file__).parents[1]
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text("utf-8")
SECTION = CONTRIBUTING.split("\n### Licences of dependencies\n")[1]
DATED = {"packaging", "pandas-stubs", "types-psutil", "types-pyyaml", "types-tqdm"}
SPDX = {  # what metadata say of old in words; the longer words come first
    "apache": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "python software foundation": "PSF-2.0",
    "mit license": "MIT",
}


def required() -> list[Requirement]:
    """Of setup.cfg: for all and of all extras."""
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg")
    lines = parser["options"]["install_requires"].split("\n")
    for value in parser["options.extras_require"].values():
        lines += re.split(r"[;\n]", re.sub(r"%\(\w+\)s", "", value))
    return [Requirement(line) for line in map(str.strip, lines) if line]


def said() -> dict[str, str]:
    """The licence of each package of the table in CONTRIBUTING.md."""
    found = {}
    for licence, names in re.findall(
        r"^\| ([\w.-]+[^|]*) \| (`.*) \|$", SECTION, re.MULTILINE
    ):
        for name in re.findall(r"`([^`]+)`", names):
            assert name not in found, name
            found[canonicalize_name(name)] = licence
    return found


def licence_of(name: str) -> str:
    """By an installed distribution's own metadata, or else its licence's text."""
    package = metadata.distribution(name)
    texts = [package.metadata.get("License-Expression")]
    lines = (package.metadata.get("License") or "").splitlines()
    texts += [line for line in lines if line.strip() != "UNKNOWN"][:1]
    if texts[0]:
        return texts[0]
    texts += package.metadata.get_all("Classifier") or []
    for path in ("LICENSE", "licenses/LICENSE"):
        texts += (package.read_text(path) or "").splitlines()[:1]
    plain = [text for text in texts if text]
    for text in plain:
        if re.fullmatch(r"[A-Z]+-[\d.]+( AND [A-Z]+)*|MIT|BSD-3-Clause", text):
            return text
    words = " ".join(plain).lower()
    return next(spdx for word, spdx in SPDX.items() if word in words)


@pytest.mark.parametrize("requirement", required(), ids=lambda r: r.name)
def test_a_requirement_ends_before_what_may_break_it(requirement):
    bounds = [s.operator for s in requirement.specifier]
    assert ("<" in bounds) != (canonicalize_name(requirement.name) in DATED)
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{requirement.name} is not installed")
    assert version in requirement.specifier


def test_the_table_of_licences_is_of_what_is_required():
    """And of what a host installs for an exported app."""
    deployed = [Requirement(line) for line in (REQUIREMENTS + OPENCV).splitlines()]
    names = {canonicalize_name(r.name) for r in [*required(), *deployed]}
    assert set(said()) == names


@pytest.mark.parametrize("name", sorted(said()))
def test_a_licence_is_what_the_package_says(name):
    try:
        assert licence_of(name) == said()[name]
    except metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed")
