"""Show the model on the page: its gallery, scores, size and speed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import streamlit as st

from kaggle_kit.app.answers import AnswerService
from kaggle_kit.app.text import format_size
from kaggle_kit.errors import ArtefactError
from kaggle_kit.escaping import escape_markdown
from kaggle_kit.inference.answers import LANDMARK_FROM
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.storage.manifest import BundleManifest, read_manifest


def show_model(bundle: Path, service: AnswerService) -> None:
    """Show the table of the model, and its config."""
    recogniser = service.recogniser
    settings, gallery = recogniser.settings, recogniser.gallery
    try:
        manifest = read_manifest(bundle)
    except ArtefactError:  # removed or damaged since it was loaded
        manifest = BundleManifest(bundle, None, {}, {})
    st.markdown(f"#### {escape_markdown(settings.name)}")
    n_images, n_landmarks = (
        len(gallery.image_ids),
        len(set(gallery.landmark_ids.tolist())),
    )
    networks = manifest.list_names("embedders")
    size = sum(manifest.files[n].bytes for n in networks if n.endswith(".tflite"))
    rows = [
        ("Network", _describe_network(recogniser)),
        ("Gallery", f"{n_images} images of {n_landmarks} landmarks"),
        ("Images of no landmark to compare with", f"{len(gallery.non_landmarks)}"),
        (
            "GAP at export, validation",
            _describe_scores(manifest.content.get("validation")),
        ),
        ("GAP at export, test", _describe_scores(manifest.content.get("test"))),
        ("Size of the networks", format_size(size)),
        ("Speed here", service.describe_speed()),
        ("Comparison of points", _describe_geometry(recogniser)),
        ("Probability", _describe_calibration(recogniser)),
    ]
    table = "\n".join(f"|{name}|{value}|" for name, value in rows)
    st.markdown(f"|Property|Value|\n|---|---|\n{table}")
    with st.expander("Complete config"):
        st.code(json.dumps(settings.model_dump(mode="json"), indent=2), "json")


def _describe_network(recogniser: Recogniser) -> str:
    model = recogniser.settings.model
    sides = [getattr(part, "side", None) for part in recogniser.embedder.parts]
    size = ", ".join(f"{side} px" for side in sides if side)
    return escape_markdown(
        f"{model.backbone}, images at {size}" if size else "visual words"
    )


def _describe_scores(scores: dict[str, Any] | None) -> str:
    if not scores:
        return "no images"
    if scores["gap"] is None:
        return f"{scores['n_images']} images, none of them of known landmarks"
    return (
        f"{scores['gap']:.4f} on {scores['n_images']} images, "
        f"{scores['n_positives']} of them of known landmarks"
    )


def _describe_geometry(recogniser: Recogniser) -> str:
    if recogniser.missing_geometry:
        return escape_markdown(f"left out: {recogniser.missing_geometry}")
    return "yes" if recogniser.geometry else "not part of this bundle"


def _describe_calibration(recogniser: Recogniser) -> str:
    calibration = recogniser.calibration
    if calibration is None:
        return "unknown"
    return (
        f"fitted to {calibration.n} validation images, {calibration.n_landmarks} of them "
        f"of known landmarks; an image below {LANDMARK_FROM:.0%} is probably not of a "
        f"landmark"
    )
