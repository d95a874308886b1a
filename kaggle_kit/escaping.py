"""Show texts of strangers as text: one function for each target.

A name, a title, an error of a server or a line of a log may hold anything. Characters that
move the cursor, change the direction of writing, or are not visible are written as Python
escapes them, such as ``\\x1b`` and ``\\u202e``.
"""

import html
import re
from urllib.parse import quote, urlsplit

# Two characters that are not visible, but without which some scripts and some emoji are
# written wrongly: the zero-width non-joiner and joiner.
JOINERS = {"\u200c", "\u200d"}
MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:^&=@/\"'])")
# Where an address begins that GitHub's Markdown links, also if each character is escaped.
LINKED = re.compile(r"(?<=//)|(?<=www)(?=\.)|(?<=@)", re.IGNORECASE)
WORD_JOINER = "\u2060"  # not visible; with it, such a text is no address
HOST = re.compile(r"(?!-)[a-z0-9-]+(\.[a-z0-9-]+)+(:\d{1,5})?", re.IGNORECASE)
WIKIMEDIA = re.compile(r"([a-z0-9-]+\.)*(wikimedia|wikipedia)\.org", re.IGNORECASE)
# What an address may consist of besides letters and digits (RFC 3986), and "%".
SAFE = "/?#[]@!$&*+,;=:~%"


def escape_terminal(text: str) -> str:
    r"""The text for a terminal or a log; line breaks and tabs remain.

    >>> escape_terminal("Tower\x1b[2J\r \u202egpj")
    'Tower\\x1b[2J\\r \\u202egpj'
    """
    return text if text.isprintable() else "".join(map(_escape_character, text))


def one_line(text: str) -> str:
    r"""The text on one line, with single spaces, for a table or a page.

    >>> one_line("a\n b\x07")
    'a b\\x07'
    """
    return escape_terminal(" ".join(text.split()))


def escape_html(text: str) -> str:
    r"""The text for the content of an HTML element, and for a quoted attribute.

    >>> escape_html('<b a="c">\x00')
    '&lt;b a=&quot;c&quot;&gt;\\x00'
    """
    return html.escape(escape_terminal(text))


def escape_markdown(text: str) -> str:
    r"""The text on one line, as Markdown shows it literally; no address in it is linked.

    >>> escape_markdown("a*b.jpg")
    'a\\*b\\.jpg'
    """
    return MARKUP.sub(r"\\\1", LINKED.sub(WORD_JOINER, one_line(text)))


def secure_address(address: str) -> str | None:
    r"""An address that a page may link to: https with the name of a host; else None.

    The address of a Wikimedia site with http is changed to https. What could end the
    address in Markdown or HTML is percent-encoded, such as a quote or a bracket.

    >>> secure_address("http://commons.wikimedia.org/wiki/File:A_(b).jpg")
    'https://commons.wikimedia.org/wiki/File:A_%28b%29.jpg'
    >>> secure_address("javascript:alert(1)"), secure_address("https://a.b/\n![](//c)")
    (None, None)
    """
    if not address.isprintable():
        return None
    try:
        parts = urlsplit(address)
    except ValueError:  # such as a host "[x"
        return None
    if not HOST.fullmatch(parts.netloc):
        return None
    if parts.scheme == "http" and WIKIMEDIA.fullmatch(parts.netloc):
        parts = parts._replace(scheme="https")
    return quote(parts.geturl(), safe=SAFE) if parts.scheme == "https" else None


def code_markdown(text: str) -> str:
    r"""The text on one line, as code for Markdown.

    >>> print(code_markdown("r50_64"), code_markdown("a`](//b.c)"))
    `r50_64` `` a`](//b.c) ``
    """
    line = one_line(text)
    if "`" not in line and line:
        return f"`{line}`"
    fence = "`" * (1 + max(map(len, re.findall("`*", line))))
    return f"{fence} {line} {fence}"


def link_markdown(text: str, address: str) -> str:
    r"""A link for Markdown; the text alone if the address is not one to link to.

    >>> link_markdown("A [b]", "https://c.org/d"), link_markdown("A", "ftp://c.org/d")
    ('[A \\[b\\]](<https://c.org/d>)', 'A')
    """
    secure = secure_address(address)
    label = escape_markdown(text)
    if secure is None or not label:
        return label
    return f"[{label}](<{html.escape(secure)}>)"


def _escape_character(character: str) -> str:
    if character.isprintable() or character in "\n\t" or character in JOINERS:
        return character
    return " " if character.isspace() and character > "\x20" else ascii(character)[1:-1]
