"""Errors that a user can cause. The command line prints one line and exits with a code.

::

    KitError                a wrong file, folder, setting or run
    ├── ConfigError         a setting is unknown or out of range
    ├── TableError          a CSV file is malformed
    ├── DataError           a competition folder, its images or its shards are unusable
    ├── ArtefactError       a subset, run or bundle is missing, damaged or in the way
    ├── RehearsalError      the kernel broke one of Kaggle's rules in rehearsal
    └── KaggleError             Kaggle refused, failed or did not answer
        ├── CredentialsError    3: no credentials, or Kaggle rejected them
        ├── RulesError          4: rules not accepted, no permission, or no such name
        ├── LimitError          5: a quota or the daily submission limit is used up
        ├── UnreachableError    6: no answer, or "try later", after several tries
        ├── RefusedError        7: Kaggle rejected the request, or it failed there
        ├── IncompleteError     8: an upload or a download is not complete
        └── WaitError           9: timed out waiting for Kaggle or another process

The exit code is 1 unless a number is given. Each message has the form ``place: expected
X, got Y; what to do``. A mistake in the calling code raises ``ValueError`` or another
built-in exception and keeps its traceback.
"""


class KitError(Exception):
    """An error that the user can correct. Its text is always a single printable line."""

    exit_code = 1

    def __init__(self, message: str):
        line = (c if c.isprintable() else repr(c)[1:-1] for c in message)
        super().__init__("".join(line))


class ConfigError(KitError):
    """A setting is unknown or out of range."""


class TableError(KitError):
    """A CSV file is malformed."""


class DataError(KitError):
    """A competition folder, its images or its shards are unusable."""


class ArtefactError(KitError):
    """A subset, run or bundle is missing, damaged or in the way."""


class RehearsalError(KitError):
    """The kernel broke one of Kaggle's rules in rehearsal."""


class KaggleError(KitError):
    """Kaggle refused, failed or did not answer; the exit code says which."""


class CredentialsError(KaggleError):
    """There are no credentials, or Kaggle rejected them."""

    exit_code = 3


class RulesError(KaggleError):
    """The rules are not accepted, permission is missing, or the name does not exist."""

    exit_code = 4


class LimitError(KaggleError):
    """A quota or the daily submission limit is used up."""

    exit_code = 5


class UnreachableError(KaggleError):
    """There was no answer, or only "try later", after several tries."""

    exit_code = 6


class RefusedError(KaggleError):
    """Kaggle rejected the request, or the request failed on Kaggle's side."""

    exit_code = 7


class IncompleteError(KaggleError):
    """An upload or a download is not complete."""

    exit_code = 8


class WaitError(KaggleError):
    """Timed out waiting for Kaggle or for another process."""

    exit_code = 9
