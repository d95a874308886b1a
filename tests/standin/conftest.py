"""A stand-in with a competition, and the real client talking to it."""

import pytest

from tests.helpers.standin import Kaggle
from tests.helpers.standin.client import CLIENT, FILES, SLUG, Client


@pytest.fixture
def kaggle():
    with Kaggle() as kaggle:
        kaggle.add_competition(SLUG, FILES, code=True)
        yield kaggle
    assert kaggle.leaks == []
    assert kaggle.strays == []


@pytest.fixture
def client(kaggle, tmp_path) -> Client:
    if not CLIENT:
        pytest.skip("the kaggle client is not here")
    return Client(kaggle, tmp_path / "home")
