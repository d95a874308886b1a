"""Numbers and strangers' texts in the words of a page."""

import re

MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:^&=])")


def plain(text: str) -> str:
    r"""Text of a stranger, so that Markdown shows it as it is.

    >>> plain("a*b.jpg")
    'a\\*b\\.jpg'
    """
    return MARKUP.sub(r"\\\1", " ".join(text.split()))


def percent(probability: float) -> str:
    """A probability to read; none is certain.

    >>> [percent(p) for p in (0.0001, 0.5, 0.9999)]
    ['under 1%', '50%', 'over 99%']
    """
    if probability < 0.01:
        return "under 1%"
    return "over 99%" if probability > 0.99 else f"{probability:.0%}"


def megabytes(n_bytes: float) -> str:
    """A size to read.

    >>> megabytes(7_059_760)
    '7.1 MB'
    """
    return f"{n_bytes / 1e6:.1f} MB"
