"""Format numbers for a page."""


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
