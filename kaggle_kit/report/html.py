"""HTML that cannot be broken by what is put into it: all is escaped but ``Html`` itself."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
# No request can leave the page, not even by a mistake of ours: nothing but what is in it.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
EMPTY = {"br", "img", "meta"}  # elements without an end


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


class Number(NamedTuple):
    """A cell that is sorted by its value, whatever is shown; None is not known."""

    value: float | None
    shown: str


def tag(name: str, *children: object, **attributes: object) -> Html:
    """An element; what is not ``Html`` among its children and attributes is escaped.

    Args:
        attributes: ``class_`` is class, ``data_id`` is data-id; None leaves one out, True
            is one without a value.

    >>> tag("p", "1 < 2", class_="a")
    '<p class="a">1 &lt; 2</p>'
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        parts.append(f" {key}" if value is True else f' {key}="{escape(str(value))}"')
    parts.append(">")
    if name not in EMPTY:
        parts += [join(children), f"</{name}>"]
    return Html("".join(parts))


def join(children: Iterable[object]) -> Html:
    """Several pieces in a row; what is not ``Html`` is escaped, and None is nothing."""
    return Html(
        "".join(
            child if isinstance(child, Html) else escape(str(child))
            for child in children
            if child is not None
        )
    )


def section(title: str, *children: object) -> Html:
    """A part of the page, with its heading."""
    return tag("section", tag("h2", title), *children)


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    sortable: bool = False,
) -> Html:
    """A table whose rows are headed by their first cell.

    Args:
        caption: what is in it, for those who see it and those who hear it.
        rows: cells; a ``Number`` is set to the right.
        sortable: the page's script lets its columns be sorted.
    """
    bodies = [[_cell(cell, i == 0) for i, cell in enumerate(row)] for row in rows]
    if not bodies:
        return tag("p", f"{caption}: none.")
    columns = [tag("th", name, scope="col") for name in head]
    body = join(tag("tr", *cells) for cells in bodies)
    inner = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *columns)),
        tag("tbody", body),
        class_="sortable" if sortable else None,
    )
    # wide ones scroll, also by the keyboard, and not the page with them
    return tag(
        "div", inner, class_="wide", tabindex=0, role="group", aria_label=caption
    )


def _cell(cell: object, first: bool) -> Html:
    name, scope = ("th", "row") if first else ("td", None)
    if isinstance(cell, Number):
        value = "" if cell.value is None else repr(float(cell.value))
        return tag(name, cell.shown, class_="n", data_value=value, scope=scope)
    return tag(name, cell, scope=scope)


def details(summary: str, *children: object) -> Html:
    """What is shown when asked for."""
    return tag("details", tag("summary", summary), *children)


def picture(data: bytes, kind: str, alt: str, **attributes: object) -> Html:
    """An image whose bytes are in the page.

    Args:
        kind: such as "jpeg" or "svg+xml".
        alt: what it shows, for those who do not see it.
    """
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return tag("img", src=source, alt=alt, **attributes)


def plot(svg: bytes, alt: str, caption: str) -> Html:
    """A plot with its caption; ``alt`` says what is to be seen in it."""
    return tag("figure", picture(svg, "svg+xml", alt), tag("figcaption", caption))


def document(title: str, *children: object) -> str:
    """A whole page, of one file."""
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
