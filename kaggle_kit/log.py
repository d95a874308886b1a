"""Logs and errors on a terminal: without secrets, and unable to steer it."""

import logging
import sys
import threading
import traceback
from types import TracebackType

from kaggle_kit.credentials import redact
from kaggle_kit.escaping import escape_terminal


def set_up_logging(level: int = logging.INFO) -> None:
    """Log to stderr, in the form that ``clean`` gives; tracebacks, too."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(asctime)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    sys.excepthook = _print_traceback
    threading.excepthook = lambda args: _print_traceback(
        args.exc_type, args.exc_value, args.exc_traceback
    )


def clean(text: str) -> str:
    r"""A text for a terminal: secrets are hidden, control characters are escaped.

    >>> clean("KAGGLE_KEY=0123456789abcdef\x1b[1m")
    'KAGGLE_KEY=[hidden]\\x1b[1m'
    """
    return escape_terminal(redact(text))


class _Formatter(logging.Formatter):
    """Indents further lines of a message, so that they do not look like other messages."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        return clean(super().format(record)).replace("\n", "\n    ")


def _print_traceback(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    if kind is not SystemExit:  # of a thread: it just ends
        lines = traceback.format_exception(kind, error, trace)
        print(clean("".join(lines)), end="", file=sys.stderr, flush=True)
