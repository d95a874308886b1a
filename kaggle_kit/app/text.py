"""Format numbers and untrusted text for a page."""

import re

MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:^&=])")


def escape_markdown(text: str) -> str:
    r"""Escape untrusted text so that Markdown shows it literally, on one line.

    >>> escape_markdown("a*b.jpg")
    'a\\*b\\.jpg'
    """
    return MARKUP.sub(r"\\\1", " ".join(text.split()))


def format_probability(probability: float) -> str:
    """Format a probability in percent, never as 0% or 100%.

    >>> [format_probability(p) for p in (0.0001, 0.5, 0.9999)]
    ['under 1%', '50%', 'over 99%']
    """
    if probability < 0.01:
        return "under 1%"
    return "over 99%" if probability > 0.99 else f"{probability:.0%}"


def format_size(n_bytes: float) -> str:
    """Format a size in megabytes.

    >>> format_size(7_059_760)
    '7.1 MB'
    """
    return f"{n_bytes / 1e6:.1f} MB"
