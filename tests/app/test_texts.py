"""Texts and addresses of strangers on the page: shown, and nothing more, in a browser."""

import sys
from urllib.parse import urlsplit

import pytest

pytest.importorskip("streamlit")

from kaggle_kit.app import answer_view
from kaggle_kit.app.album import Album
from kaggle_kit.storage.csv_files import write_rows
from tests.helpers.served_app import ROOT, serve_command
from tests.helpers.signed_bundles import sign

IDS = [f"{n:016x}" for n in range(6)]
PICTURE = "![x](https://evil.example/a.png)"
AUTHORS = [  # url, author, licence, title
    ("https://upload.example/a.jpg\n\n" + PICTURE, "Jane", "CC BY", "Tower"),
    ("http://commons.wikimedia.org/wiki/File:A_(b).jpg", "Jane", "CC BY", PICTURE),
    (
        "javascript:alert(1)",
        "<img src=https://evil.example/b.png>",
        "",
        "x](//evil.example)",
    ),
    (
        "https://user@evil.example/",
        "[x][1]\n\n[1]: https://evil.example",
        "",
        "\u202egpj",
    ),
    (
        "http://evil.example/",
        "https://evil.example www.evil.example",
        "a@evil.example",
        "T",
    ),
    ("https://a.example/b?c=d&e", "`code` **bold** $x$ :red[x] :smile:", "", "#"),
]
SAFE = [
    "https://commons.wikimedia.org/wiki/File:A_%28b%29.jpg",
    "https://a.example/b?c=d&e",
]
NAME = f"{PICTURE} <b>www.evil.example</b>\x1b | *x*"
SCRIPT = """
import sys
sys.path.insert(0, {root!r})
import numpy as np
import streamlit as st
from pathlib import Path
from kaggle_kit.app import answer_view
from kaggle_kit.app.album import Album
from kaggle_kit.app.picture import show_picture
from kaggle_kit.inference.answers import Candidate, Neighbour
album = Album(Path({bundle!r}), None)
for image_id in {ids!r}:
    answer_view._show_credit(album, image_id)
show_picture(np.zeros((2, 2, 3), np.uint8), {name!r})
best = Candidate(7, {name!r}, 0.5, 0.5)
answer_view._show_runners_up([best, best])
st.markdown("the end of it")
"""


@pytest.fixture
def bundle(tmp_path):
    """A bundle with strange authors."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    rows = [(i, *row) for i, row in zip(IDS, AUTHORS, strict=True)]
    write_rows(
        folder / "attribution.csv", ("id", "url", "author", "license", "title"), rows
    )
    sign(folder)
    return folder


def test_credits_link_only_to_addresses_with_https(bundle, monkeypatch):
    shown = []
    monkeypatch.setattr(answer_view.st, "markdown", shown.append)
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark")
    album = Album(bundle, None)
    for image_id in IDS:
        answer_view._show_credit(album, image_id)
    answer_view._show_credit(album, "f" * 16)
    assert len(shown) == len(IDS)
    tokens = [t for text in shown for b in parser.parse(text) for t in b.children or []]
    assert not {t.type for t in tokens} - {
        "text",
        "text_special",
        "link_open",
        "link_close",
    }
    assert [t.attrs["href"] for t in tokens if t.type == "link_open"] == SAFE


@pytest.mark.extended
def test_the_browser_asks_no_other_host_and_shows_no_other_link(
    bundle, browser, tmp_path
):
    script = SCRIPT.format(root=str(ROOT), bundle=str(bundle), ids=IDS, name=NAME)
    (tmp_path / "page.py").write_text(script)
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        "page.py",
        "--server.port",
        "PORT",
    ]
    command += ["--server.headless", "true", "--browser.gatherUsageStats", "false"]
    hosts, errors = set(), []
    with serve_command(command, tmp_path, tmp_path) as server:
        page = browser.new_page()
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        page.on("dialog", lambda dialog: errors.append(dialog.message))
        page.goto(server.url)
        page.get_by_text("the end of it").wait_for(timeout=60_000)
        main = page.locator("[data-testid=stMain]")
        links = [link.get_attribute("href") for link in main.locator("a").all()]
        text = main.inner_text()
        images = main.locator("img").all()
        assert [link for link in links if not link.startswith("#")] == SAFE
        assert [i.get_attribute("src").partition(";")[0] for i in images] == [
            "data:image/jpeg"
        ]
        assert main.locator("b, strong, em, code, h1, script").count() == 0
        page.close()
    assert hosts <= {"localhost", None} and not errors
    for said in (
        PICTURE,
        "<img src=https://evil.example/b.png>",
        "\\u202egpj",
        "`code` **bold**",
    ):
        assert said in text.replace("\u2060", ""), said
