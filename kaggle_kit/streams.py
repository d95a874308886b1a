"""Standard output and standard error that are closed, full, or for ASCII alone."""

import io
import os
import sys

from kaggle_kit.errors import KitError


def repair_streams() -> None:
    """Make both streams usable, so that neither a message nor a name ends a command.

    A closed stream gets a place of its own: otherwise the next file that is opened would
    be taken for it, and get all messages. What a stream cannot encode is escaped.
    """
    for descriptor, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            _discard(descriptor)
            if name == "stderr":
                sys.stderr = os.fdopen(os.dup(2), "w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_result(text: str) -> None:
    """Print to stdout; it is no error that a reader such as ``head`` has closed it.

    Raises:
        KitError: stdout is closed, or the text cannot be written.
    """
    if sys.stdout is None:
        raise KitError(
            "stdout: expected a place for the result, got a closed stream; the work is "
            "done: redirect stdout to a file to see its result"
        )
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _discard(1)
    except OSError as error:
        _discard(1)
        raise KitError(
            f"stdout: expected room for the result, got {error.strerror}; the work is "
            f"done: redirect stdout to another place to see its result"
        ) from None


def print_error(line: str) -> None:
    """Print a line to stderr, if it takes one."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        _discard(2)


def flush_streams() -> bool:
    """Write what is left, so that Python has nothing left to fail at when it exits.

    Returns:
        Whether all of stdout was written.
    """
    written = True
    for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            if stream is not None:
                stream.flush()
        except BrokenPipeError:
            _discard(descriptor)
        except (OSError, ValueError):
            _discard(descriptor)
            written = written and descriptor != 1
    return written


def _discard(descriptor: int) -> None:
    """Let a descriptor lead nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
