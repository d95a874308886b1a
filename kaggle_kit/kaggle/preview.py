"""Previews: what would be sent, also without an account, the client or a connection."""

import logging
from collections.abc import Callable
from typing import TypeVar

from kaggle_kit import credentials
from kaggle_kit.errors import CredentialsError, UnreachableError
from kaggle_kit.kaggle import client

logger = logging.getLogger(__name__)
T = TypeVar("T")


def ask_for_preview(question: Callable[[], T]) -> T | None:
    """Ask Kaggle once, for a preview, which also works without an account.

    Returns:
        The answer; None without the client, credentials or a connection.
    """
    token = client.is_preview.set(True)
    try:
        client.executable()
        return question() if credentials.sources() else None
    except (CredentialsError, UnreachableError, client.ClientMissingError) as error:
        logger.info("preview without an answer from Kaggle: %s", error)
        return None
    finally:
        client.is_preview.reset(token)
