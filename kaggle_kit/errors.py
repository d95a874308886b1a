"""What a user can cause. The command line prints one line of it and exits with its code.

::

    KitError                a wrong file, folder, setting or run; the message says what to do
    ├── ConfigError         a setting that does not exist or does not fit
    ├── TableError          a CSV file: its name, row, what was expected, what came
    ├── DataError           a competition folder, photos, shards
    ├── ArtefactError       a subset, run or bundle that is missing, damaged or in the way
    ├── RehearsalError      what the kernel did that Kaggle would not have let pass
    └── KaggleError             what Kaggle, or the way to it, did not let pass
        ├── CredentialsError    3: who you are is not known there
        ├── RulesError          4: you may not: rules, permission, a wrong name
        ├── LimitError          5: a quota or the day's submissions are used up
        ├── UnreachableError    6: no answer, or "later", after several tries
        ├── RefusedError        7: Kaggle refused or failed at what was asked
        ├── IncompleteError     8: what is there is not what was sent, or the reverse
        └── WaitError           9: it takes longer than one is ready to wait

The exit code is 1 but where a number stands. A caller's mistake in code is a ``ValueError`` and keeps its traceback.
"""


class KitError(Exception):
    """Something a user can put right; its text is one line, whatever it quotes."""

    exit_code = 1

    def __init__(self, message: str):
        line = (c if c.isprintable() else repr(c)[1:-1] for c in message)
        super().__init__("".join(line))


class ConfigError(KitError):
    """A setting that does not exist or does not fit."""


class TableError(KitError):
    """A CSV file that is not what it should be."""


class DataError(KitError):
    """A competition folder, its photos, or the shards made of them."""


class ArtefactError(KitError):
    """A subset, run or bundle that is missing, damaged or in the way."""


class RehearsalError(KitError):
    """What the kernel did that Kaggle would not have let pass."""


class KaggleError(KitError):
    """What Kaggle, or the way to it, did not let pass; scripts tell them by exit code."""


class CredentialsError(KaggleError):
    """No credentials, or ones that Kaggle does not take."""

    exit_code = 3


class RulesError(KaggleError):
    """Rules that are not accepted, no permission, or a name that does not exist."""

    exit_code = 4


class LimitError(KaggleError):
    """A quota, or the day's submissions, are used up."""

    exit_code = 5


class UnreachableError(KaggleError):
    """No answer, or one that says to come back later, after several tries."""

    exit_code = 6


class RefusedError(KaggleError):
    """Kaggle refused what was asked, or failed at it."""

    exit_code = 7


class IncompleteError(KaggleError):
    """What is there differs from what was sent, or the reverse."""

    exit_code = 8


class WaitError(KaggleError):
    """It takes longer than one is ready to wait."""

    exit_code = 9
