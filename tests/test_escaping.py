"""Strangers' texts stay texts: read back by parsers that are not the kit's."""

import base64
import html
import unicodedata
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_kit.escaping import (
    WORD_JOINER,
    code_markdown,
    escape_html,
    escape_markdown,
    escape_terminal,
    link_markdown,
    one_line,
    secure_address,
)
from kaggle_kit.report.html import tag
from tests.helpers.complaints import steady
from tests.helpers.html_elements import Elements

MARKDOWN = [
    "![x](https://evil.example/a.png)",
    "[x](javascript:alert(1))",
    "[x][1]\n\n[1]: https://evil.example",
    "<img src=https://evil.example/a.png>",
    "<script>alert(1)</script>",
    "https://evil.example www.evil.example a@evil.example <https://evil.example>",
    "# heading\n- item\n1. item\n> quote\n***\n```\ncode\n```\n    code",
    "| a | b |\n|---|---|\n| c | d |",
    "**bold** __bold__ *i* _i_ ~~s~~ `code` $x$ :red[x] :smile: \\",
    "&lt;b&gt; &#60;b&#62; &amp;",
    "a\u2028b\u2029c\x85d\x0be",
    "`](https://evil.example) ``x``",
]
CONTROL = [
    "\x1b[2J\x1b]0;title\x07",
    "\rkaggle-kit: all is well",
    "\x9b31m",
    "\x00\x08\x7f",
    "invoice\u202egpj.exe\u202c",
    "\u2066\u2067\u2068\u2069\u200e\u200f\u061c",
    "\ufeff\u200b\u2060\U000e0041",
    "\ud800",
]
NAMES = [
    "Tour Eiffel",
    "北京 故宫",
    "برج خليفة",
    "नमस्ते",
    "می\u200cخواهم",
    "👩\u200d🎨",
    "Orée",
]
ADDRESSES = {
    "https://commons.wikimedia.org/wiki/File:A.jpg": "https://commons.wikimedia.org/wiki/File:A.jpg",
    "http://commons.wikimedia.org/wiki/Category:B": "https://commons.wikimedia.org/wiki/Category:B",
    "HTTPS://Upload.Wikimedia.org/a": "https://Upload.Wikimedia.org/a",
    "https://a.example:8080/b?c=d&e=f#g": "https://a.example:8080/b?c=d&e=f#g",
    "https://a.example/L'(x)[y] z": "https://a.example/L%27%28x%29[y]%20z",
    "https://a.example/é": "https://a.example/%C3%A9",
    "https://a.example/<b>\"'`": "https://a.example/%3Cb%3E%22%27%60",
}
NO_ADDRESSES = [
    *("", "x", "/x", "//a.example/x", "http://a.example/x", "ftp://a.example/x"),
    *("javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "file:///x"),
    *("https:", "https://", "https:///x", "https://?x", "https://localhost/x"),
    *("https://user@a.example/", "https://u:p@a.example/", "https://a.example@evil.b/"),
    *("https://a.example\\@evil.example/", "https://[::1", "https://a b.example/"),
    *("https://a.example/\n![x](https://evil.example/a.png)", "https://a.example/\r\n"),
    *("https://a.example/\x00", "https://a.example/\u202e", "\x01https://a.example/"),
    *("java\nscript:alert(1)", "http://evilwikimedia.org/x"),
    "http://wikimedia.org.evil.example/x",
    "https://\u0430.example/x",
]


def parse_markdown(text):
    """The (kind, content) of each token, by CommonMark with GitHub's tables."""
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark", {"html": True})
    tokens = parser.enable(["table", "strikethrough"]).parse(text)
    return [t for token in tokens for t in (token.children or [token])]


def read_text(tokens):
    """The text of tokens, without what keeps addresses from being linked."""
    text = "".join(t.content for t in tokens if t.type.startswith("text"))
    return text.replace(WORD_JOINER, "")


def shown(text):
    """What a reader is to see of a text on one line."""
    return one_line(text)


@pytest.mark.parametrize("text", [*MARKDOWN, *CONTROL, *NAMES])
def test_markdown_shows_the_text_and_nothing_else(text):
    for before, after in (("", ""), ("Image: ", ""), ("#### ", ""), ("**", "**")):
        tokens = parse_markdown(f"{before}{escape_markdown(text)}{after}")
        kinds = {token.type for token in tokens}
        plain = {"paragraph_open", "paragraph_close", "text", "text_special"}
        around = {"heading_open", "heading_close", "strong_open", "strong_close"}
        assert kinds <= plain | (around if before in ("#### ", "**") else set())
        said = read_text(tokens)
        assert said.removeprefix("Image: ").strip() == shown(text).strip()


@steady(100)
@given(
    st.text(
        alphabet=st.sampled_from("ab1 .\\`*_{}[]()#+-!|<>~$:^&=@/\"'\n\t;"), max_size=30
    )
)
def test_markdown_shows_any_punctuation(text):
    tokens = parse_markdown(f"x {escape_markdown(text)}")
    assert {t.type for t in tokens} <= {
        *("paragraph_open", "paragraph_close", "text", "text_special")
    }
    said = read_text(tokens)
    assert said == f"x {shown(text)}".rstrip()


@pytest.mark.parametrize("text", [*MARKDOWN, *CONTROL, *NAMES, "r50_64", ""])
def test_code_in_markdown_is_the_text(text):
    tokens = parse_markdown(f"- config: {code_markdown(text)}\n- next")
    (code,) = [t for t in tokens if t.type == "code_inline"] or [None]
    if text:
        assert code.content.strip() == shown(text).strip()
    assert not {t.type for t in tokens} & {"image", "link_open", "html_inline"}


@pytest.mark.parametrize("text", [*MARKDOWN, *CONTROL, *NAMES, "a\" onload='x' b"])
def test_html_shows_the_text_and_nothing_else(text):
    found = Elements(tag("p", text, title=text, aria_label=text))
    assert [name for name, _ in found.tags] == ["p"]
    assert set(found.tags[0][1]) == {"title", "aria-label"}
    assert "".join(found.text) == found.tags[0][1]["title"] == escape_terminal(text)
    assert html.unescape(escape_html(text)) == escape_terminal(text)


@pytest.mark.parametrize("text", [*MARKDOWN, *CONTROL, *NAMES])
def test_a_terminal_gets_no_character_that_steers_it(text):
    line = escape_terminal(text)
    for character in line:
        kind = unicodedata.category(character)
        is_joiner = character in "\u200c\u200d"
        assert kind[0] != "C" or is_joiner or character in "\n\t", ascii(character)
        assert kind not in ("Zl", "Zp")
    assert "\n" not in one_line(text)
    line.encode("utf-8")


@pytest.mark.parametrize("text", NAMES)
def test_names_of_all_scripts_are_unchanged(text):
    assert escape_terminal(text) == one_line(text) == text


@pytest.mark.parametrize(("address", "secure"), ADDRESSES.items())
def test_a_page_links_to_addresses_with_https(address, secure):
    assert secure_address(address) == secure
    assert unquote(secure).lower().replace("https", "http") == unquote(
        address
    ).lower().replace("https", "http")
    tokens = parse_markdown(f"Image: {link_markdown('A](x) *b*', address)} end")
    (link,) = [t for t in tokens if t.type == "link_open"]
    # the parser percent-encodes brackets, too
    assert unquote(link.attrs["href"]) == unquote(secure)
    said = read_text(tokens)
    assert said == "Image: A](x) *b* end"


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_other_addresses_are_left_out(address):
    assert secure_address(address) is None
    assert link_markdown("a title", address) == "a title"


@steady(100)
@given(st.text(max_size=20), st.text(max_size=20))
def test_whatever_is_linked_has_https_and_a_host(before, after):
    for address in (before, f"https://a.example/{after}", f"https://{before}/{after}"):
        secure = secure_address(address)
        if secure is None:
            continue
        parts = urlsplit(secure)
        assert parts.scheme == "https" and parts.hostname and "@" not in parts.netloc
        assert secure.isascii() and secure.isprintable()
        assert not set(secure) & set("<>()\"'` \\")
        tokens = parse_markdown(link_markdown("x", address))
        kinds = [t.type for t in tokens]
        assert kinds.count("link_open") == 1 and "image" not in kinds


def test_a_picture_on_the_page_is_one_element(monkeypatch):
    picture = pytest.importorskip("kaggle_kit.app.picture")
    import numpy as np

    pages = []
    monkeypatch.setattr(picture.st, "html", pages.append)
    for text in (*MARKDOWN, *CONTROL, '" onerror="x'):
        picture.show_picture(np.zeros((2, 2, 3), np.uint8), text)
        found = Elements(pages[-1])
        assert [name for name, _ in found.tags] == ["figure", "img", "figcaption"]
        attributes = found.tags[1][1]
        assert set(attributes) == {"src", "alt", "style"}
        base64.b64decode(attributes["src"].partition(",")[2], validate=True)
