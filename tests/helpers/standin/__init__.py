"""A stand-in for Kaggle on loopback, for tests that run the real ``kaggle`` client.

::

    with Kaggle() as kaggle:
        kaggle.add_competition("landmark-recognition-2021", {"train.csv": b"id\\n"})
        subprocess.run(["kaggle", "competitions", "files", ...], env=kaggle.env(home))

It speaks the protocol of client 2.2 as its source shows it, remembers what was uploaded,
pushed and submitted, records every call, and fails on demand (:meth:`Kaggle.fault`).
"""

from tests.helpers.standin.replies import Call
from tests.helpers.standin.server import Kaggle

__all__ = ["Call", "Kaggle"]
