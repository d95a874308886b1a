"""What a user can cause. The command line prints one line of it and exits with 1.

::

    KitError                a wrong file, folder, setting or run; the message says what to do
    ├── ConfigError         a setting that does not exist or does not fit
    ├── TableError          a CSV file: its name, row, what was expected, what came
    ├── DataError           a competition folder, photos, shards
    ├── ArtefactError       a subset, run or bundle that is missing, damaged or in the way
    └── RehearsalError      what the kernel did that Kaggle would not have let pass

A caller's mistake in code is a ``ValueError`` and keeps its traceback.
"""


class KitError(Exception):
    """Something a user can put right; its text is one line, whatever it quotes."""

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
