"""The Markdown files of the project, and what is in them."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def documents() -> list[Path]:
    """All Markdown files that git tracks: those of a demo beside them are none."""
    command = ["git", "ls-files", "*.md"]
    names = subprocess.check_output(command, cwd=ROOT, text=True).splitlines()
    return [ROOT / name for name in sorted(names) if (ROOT / name).is_file()]


def section(text: str, heading: str) -> str:
    """What follows a heading, such as ``## Results``, up to the next of its level."""
    _, after = f"\n{text}".split(f"\n{heading}\n")
    level = heading.split()[0]
    return re.split(rf"^#{{2,{len(level)}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced blocks in one of the languages; "" is a block without one."""
    return [body for language, body in FENCE.findall(text) if language in languages]


def commands(text: str) -> list[str]:
    """The commands of the kit in fenced blocks, without ``kaggle-kit`` itself."""
    return [
        part.strip().split("kaggle-kit ", 1)[1]
        for block in blocks(text, "", "bash")
        for line in block.replace("\\\n", " ").splitlines()
        for part in line.split("&&")
        if re.match(r"\S*kaggle-kit ", part.strip())
    ]


def anchors(text: str) -> set[str]:
    """What a link can name in a document: its headings, as GitHub writes them."""
    prose = FENCE.sub("", text)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def links(text: str) -> list[str]:
    """The targets of all links and pictures outside fenced blocks."""
    return re.findall(r"\]\(([^()\s]+)\)", FENCE.sub("", text))


def rows(text: str) -> dict[str, list[str]]:
    """The rows of all tables by their first cell, without backticks: the other cells."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    return {first.strip("`"): others for first, *others in cells}
