"""Build HTML safely: everything is escaped, except ``Html`` itself."""

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from kaggle_kit.escaping import escape_html

HERE = Path(__file__).parent
# The page cannot send requests: only content of the file itself is allowed.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
VOID = {"br", "img", "meta"}  # elements without an end tag


class Html(str):
    """Text that is markup, and is not escaped."""

    __slots__ = ()


class Number(NamedTuple):
    """A table cell with a number: its sort value, None if unknown, and its text."""

    value: float | None
    text: str


def tag(name: str, *children: object, **attributes: object) -> Html:
    """An element; children and attributes other than ``Html`` are escaped.

    Args:
        name: of the element.
        children: text or elements; None is left out.
        attributes: ``class_`` stands for class, ``data_id`` for data-id; None and False
            are left out, True is an attribute without a value.

    >>> tag("p", "1 < 2", class_="a")
    '<p class="a">1 &lt; 2</p>'
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        parts.append(
            f" {key}" if value is True else f' {key}="{escape_html(str(value))}"'
        )
    parts.append(">")
    if name not in VOID:
        parts += [join(children), f"</{name}>"]
    return Html("".join(parts))


def join(children: Iterable[object]) -> Html:
    """Concatenate; other values than ``Html`` are escaped, None is left out."""
    return Html(
        "".join(
            child if isinstance(child, Html) else escape_html(str(child))
            for child in children
            if child is not None
        )
    )


def section(title: str, *children: object) -> Html:
    """A section of the page with a heading."""
    return tag("section", tag("h2", title), *children)


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    sortable: bool = False,
) -> Html:
    """A table; the first cell of each row is its heading.

    Args:
        caption: of the table, also for screen readers.
        head: headings of the columns.
        rows: cells; a ``Number`` is aligned right.
        sortable: whether the script of the page makes the columns sortable.

    Returns:
        The table, or without rows a paragraph that says so.
    """
    cells = [[_cell(cell, i == 0) for i, cell in enumerate(row)] for row in rows]
    if not cells:
        return tag("p", f"{caption}: none.")
    columns = [tag("th", name, scope="col") for name in head]
    body = join(tag("tr", *row) for row in cells)
    inner = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *columns)),
        tag("tbody", body),
        class_="sortable" if sortable else None,
    )
    # a wide table scrolls by itself, also with the keyboard
    return tag(
        "div", inner, class_="wide", tabindex=0, role="group", aria_label=caption
    )


def _cell(cell: object, first: bool) -> Html:
    name, scope = ("th", "row") if first else ("td", None)
    if isinstance(cell, Number):
        value = "" if cell.value is None else repr(float(cell.value))
        return tag(name, cell.text, class_="n", data_value=value, scope=scope)
    return tag(name, cell, scope=scope)


def details(summary: str, *children: object) -> Html:
    """Content that is shown when the reader opens it."""
    return tag("details", tag("summary", summary), *children)


def picture(data: bytes, kind: str, alt: str, **attributes: object) -> Html:
    """An image, embedded in the page.

    Args:
        data: the image file.
        kind: subtype of its media type, such as "jpeg" or "svg+xml".
        alt: text alternative.
    """
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return tag("img", src=source, alt=alt, **attributes)


def plot(svg: bytes, alt: str, caption: str) -> Html:
    """A plot with a text alternative and a caption."""
    return tag("figure", picture(svg, "svg+xml", alt), tag("figcaption", caption))


def document(title: str, *children: object) -> str:
    """A complete page in one file, with its style and script."""
    style = Html((HERE / "page.css").read_text(encoding="utf-8"))
    script = Html((HERE / "page.js").read_text(encoding="utf-8"))
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", style),
    )
    body = tag("body", tag("main", tag("h1", title), *children), tag("script", script))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"
