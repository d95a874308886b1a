"""Kaggle's replies as typed records. All JSON that the client prints is read here."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kaggle_kit.errors import RefusedError, RulesError
from kaggle_kit.kaggle import client


@dataclass(frozen=True, slots=True)
class Submission:
    """A submission on Kaggle. A score that is not known yet is empty."""

    ref: str  # Kaggle's number of it
    date: str  # UTC
    description: str
    status: str  # pending, complete or error
    public: str
    private: str


@dataclass(frozen=True, slots=True)
class SubmissionLimits:
    """How many submissions were made today, and how many are left."""

    used: int
    left: int


@dataclass(frozen=True, slots=True)
class DatasetStatus:
    """The state of a dataset's newest version; ``status`` is in lower case."""

    status: str
    version: int


@dataclass(frozen=True, slots=True)
class GpuQuota:
    """The weekly GPU quota: hours left, and Kaggle's texts for its size and renewal."""

    left_h: float
    total: str
    refresh_at: str


def list_submissions(slug: str) -> list[Submission]:
    """The user's submissions to a competition, in Kaggle's order.

    Raises:
        KaggleError: Kaggle did not answer, or not as expected.
    """
    rows = client.call_json("competitions", "submissions", slug, "--format", "json")
    with _expected_fields("competitions submissions"):
        return [parse_submission(row) for row in rows or []]


def parse_submission(row: dict[str, Any]) -> Submission:
    """A submission from Kaggle's JSON.

    >>> parse_submission(
    ...     {"ref": 7, "date": "2026-08-01", "description": "first", "publicScore": "",
    ...      "privateScore": None, "status": "SubmissionStatus.PENDING"}
    ... ).status
    'pending'
    """
    return Submission(
        ref=str(row["ref"]),
        date=str(row["date"]),
        description=str(row["description"]),
        status=str(row["status"]).split(".")[-1].lower(),
        public=str(row["publicScore"] or ""),
        private=str(row["privateScore"] or ""),
    )


def submission_limits(slug: str) -> SubmissionLimits:
    """Today's submission limits of a competition.

    Raises:
        KaggleError: Kaggle did not answer, or not as expected.
    """
    limits = client.call_json("competitions", "submission-limits", slug, "--json")
    with _expected_fields("competitions submission-limits"):
        limits = limits or {}
        used, left = limits.get("numToday", 0), limits.get("numAllowedNow", 0)
        return SubmissionLimits(int(used), int(left))


def dataset_status(handle: str) -> DatasetStatus | None:
    """The status of a dataset; None if it does not exist.

    Raises:
        KaggleError: Kaggle did not answer, or not as expected.
    """
    try:
        reply = client.call_json("datasets", "status", handle, "--format", "json")
    except RulesError:  # Kaggle answers 403 or 404 for a dataset that does not exist
        return None
    with _expected_fields("datasets status"):
        version = int(reply.get("current_version_number") or 0)
        return DatasetStatus(str(reply["status"]).lower(), version)


def dataset_files(handle: str) -> dict[str, int]:
    """The name and size in bytes of every file in a dataset's newest version.

    Raises:
        KaggleError: Kaggle did not answer, or not as expected.
    """
    rows = client.call_pages("datasets", "files", handle)
    with _expected_fields("datasets files"):
        return {row["name"]: int(row["size"]) for row in rows}


def gpu_quota() -> GpuQuota | None:
    """The user's GPU quota; None if Kaggle does not report one.

    Raises:
        KaggleError: Kaggle did not answer, or not as expected.
    """
    rows = client.call_json("quota", "--format", "json")
    with _expected_fields("quota"):
        row = next((row for row in rows or [] if row["resource"] == "GPU"), None)
        if row is None:
            return None
        left_h = float(row["remaining"].rstrip("h"))
        if not math.isfinite(left_h):
            raise ValueError(f"{left_h} hours")
        return GpuQuota(left_h, str(row["total"]), str(row["refreshAt"]))


@contextmanager
def _expected_fields(command: str) -> Iterator[None]:
    """Raise one error for a reply that lacks a field or has one of another type."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RefusedError(
            f"kaggle {command}: expected the reply of client 2.2, got {error!r:.200}; "
            f"install kaggle 2.2"
        ) from None
