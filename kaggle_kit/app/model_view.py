"""The model on the page: what it is, how good at export, how large and how fast."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import streamlit as st

from kaggle_kit.app.answers import Answers
from kaggle_kit.app.text import megabytes, plain
from kaggle_kit.inference.answers import LANDMARK_FROM
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.storage import json_files
from kaggle_kit.storage.manifest import MANIFEST


def show_model(bundle: Path, answers: Answers) -> None:
    """Draw the page of the model."""
    recogniser = answers.recogniser
    settings, gallery = recogniser.settings, recogniser.gallery
    try:
        manifest = json_files.read_json(bundle / MANIFEST)
    except json_files.DAMAGE:
        manifest = {}
    st.markdown(f"#### {plain(settings.name)}")
    landmarks = len(set(gallery.landmark_ids.tolist()))
    pool = len(gallery.non_landmarks)
    networks = sorted(bundle.glob("embedders/*/*.tflite"))
    size = sum(path.stat().st_size for path in networks)
    rows = [
        ("Network", _network(recogniser)),
        (
            "Gallery",
            f"{len(gallery.image_ids)} photos of {landmarks} landmarks",
        ),
        ("Photos of no landmark to compare with", f"{pool}"),
        ("GAP at export, validation", _scores(manifest.get("validation"))),
        ("GAP at export, test", _scores(manifest.get("test"))),
        ("Size of the networks", megabytes(size)),
        ("Speed here", answers.speed()),
        ("Comparison of points", _geometry(recogniser)),
        ("Probability", _probability(recogniser)),
    ]
    table = "\n".join(f"|{name}|{value}|" for name, value in rows)
    st.markdown(f"|What|Value|\n|---|---|\n{table}")
    with st.expander("The whole config"):
        st.code(json.dumps(settings.model_dump(mode="json"), indent=2), "json")


def _network(recogniser: Recogniser) -> str:
    model = recogniser.settings.model
    sides = [getattr(part, "side", None) for part in recogniser.embedder.parts]
    size = ", ".join(f"{side} px" for side in sides if side)
    return plain(f"{model.backbone}, photos at {size}" if size else "visual words")


def _scores(scores: dict[str, Any] | None) -> str:
    if not scores:
        return "no photos"
    return (
        f"{scores['gap']:.4f} on {scores['n_images']} photos, "
        f"{scores['n_positives']} of them of known landmarks"
    )


def _geometry(recogniser: Recogniser) -> str:
    if recogniser.missing_geometry:
        return plain(f"left out: {recogniser.missing_geometry}")
    return "yes" if recogniser.geometry else "not part of this bundle"


def _probability(recogniser: Recogniser) -> str:
    curve = recogniser.calibration
    if curve is None:
        return "not known"
    return (
        f"fitted to {curve.n} validation photos, {curve.n_landmarks} of them of known "
        f"landmarks; below {LANDMARK_FROM:.0%} it is probably not a landmark"
    )
