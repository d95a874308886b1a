"""HTML: whatever is put in stays text."""

import re

import pytest

from kaggle_kit.report.html import Html, Number, document, picture, table, tag
from tests.helpers.html_elements import Elements

NASTY = "<script>alert(1)</script>\"' onerror=x &amp; </td>"


@pytest.mark.parametrize(
    "made",
    [
        tag("p", NASTY),
        tag("p", "x", title=NASTY),
        table(NASTY, (NASTY,), [(NASTY,)]),
        table("c", ("h",), [(Number(1.0, NASTY),)]),
        picture(b"", "jpeg", NASTY),
    ],
)
def test_what_is_put_in_is_text(made):
    found = Elements(made)
    assert "script" not in [name for name, _ in found.tags]
    assert not any("onerror" in attributes for _, attributes in found.tags)
    values = [v for _, attributes in found.tags for v in attributes.values()]
    assert NASTY in values or NASTY in "".join(found.text)


def test_only_html_is_markup():
    assert tag("p", Html("<b>x</b>"), "<b>") == "<p><b>x</b>&lt;b&gt;</p>"


def test_a_table_says_what_heads_a_row_and_a_column():
    made = Elements(table("Sizes", ("Name", "n"), [("a", Number(2, "2"))]))
    scopes = [a["scope"] for name, a in made.tags if name == "th"]
    assert scopes == ["col", "col", "row"]
    assert ("td", {"class": "n", "data-value": "2.0"}) in made.tags
    assert "caption" in [name for name, _ in made.tags]


def test_a_page_asks_for_nothing_outside():
    page = document("Title", tag("p", "text"))
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=[\"']?(?!data:)|@import|url\(", page)
