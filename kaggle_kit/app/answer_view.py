"""Show an answer on the page: landmark, runners-up, similar images and explanation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kaggle_kit.app.album import Album
from kaggle_kit.app.answers import AnswerService, TimedAnswer
from kaggle_kit.app.picture import show_picture
from kaggle_kit.app.text import format_probability
from kaggle_kit.backends.uploads import CheckedImage, run_on_decode_thread
from kaggle_kit.escaping import escape_markdown, link_markdown
from kaggle_kit.inference.answers import Answer, Candidate, Neighbour

WIDTH = 165  # pixels of a gallery image; a phone shows two side by side
EXPLANATION = """\
Each similar image has a score **A**: its similarity{inliers}, less **B**, its similarity to
images of no landmark. The score of a landmark is the sum over its images that count; its
confidence is that score less **C**, the similarity of *your* image to images of no landmark.
"""


def show_answer(
    service: AnswerService, album: Album, image: CheckedImage, timed: TimedAnswer
) -> None:
    """Show the answer for an image."""
    answer = timed.answer
    left, right = st.columns([2, 3])
    with left:
        show_picture(image.preview, "Your image")
    with right:
        _show_verdict(answer)
        _show_runners_up(answer.candidates)
    _show_similar(album, answer.evidence)
    with st.expander("Why"):
        _show_explanation(service, timed)
    if service.recogniser.geometry and answer.evidence:
        _show_matches(service, album, image, answer.evidence[0])


def _show_verdict(answer: Answer) -> None:
    if not answer.candidates:
        st.markdown("**The gallery is empty**: there is no landmark to recognise.")
        return
    best = answer.candidates[0]
    if answer.is_landmark is False:
        st.markdown("#### Probably not a landmark")
        st.markdown(
            f"The nearest is **{escape_markdown(best.name)}**, {_probability(best)} likely "
            f"to be right."
        )
    else:
        st.markdown(f"#### {escape_markdown(best.name)}")
        if best.probability is not None:
            st.markdown(f"**{_probability(best)}** likely to be right")
    if best.probability is None:
        st.markdown(
            f"Confidence {best.confidence:.3f}. Its probability is unknown: the bundle was "
            f"built without validation images, or by an earlier version."
        )


def _probability(candidate: Candidate) -> str:
    return format_probability(candidate.probability or 0.0)


def _show_runners_up(candidates: Sequence[Candidate]) -> None:
    if len(candidates) < 2:
        return
    lines = ["Runners-up:", ""]
    for candidate in candidates[1:]:
        lines.append(
            f"1. {escape_markdown(candidate.name)}, confidence {candidate.confidence:.3f}"
        )
    st.markdown("\n".join(lines))


def _show_similar(album: Album, neighbours: Sequence[Neighbour]) -> None:
    previews = [album.load_preview(neighbour.image_id) for neighbour in neighbours]
    if all(preview is None for preview in previews):
        return
    st.markdown("##### Most similar images of the gallery")
    with st.container(horizontal=True):
        pairs = zip(neighbours, previews, strict=True)
        for n, (neighbour, preview) in enumerate(pairs, 1):
            if preview is None:
                continue
            with st.container(width=WIDTH):
                caption = (
                    f"{n}. {neighbour.name}, similarity {neighbour.similarity:.2f}"
                )
                show_picture(preview, caption)
                _show_credit(album, neighbour.image_id)


def _show_credit(album: Album, image_id: str) -> None:
    credit = album.credit(image_id)
    if credit is None:
        return
    st.markdown(f"Image: {link_markdown(*credit)}")


def _show_explanation(service: AnswerService, timed: TimedAnswer) -> None:
    answer, recogniser = timed.answer, service.recogniser
    has_geometry = recogniser.geometry is not None
    inliers = " and the points that match" if has_geometry else ""
    st.markdown(EXPLANATION.format(inliers=inliers))
    _show_evidence(answer.evidence, has_geometry)
    margin = "none" if answer.margin is None else f"{answer.margin:.3f}"
    st.markdown(
        f"C of your image: {answer.c:.3f}. Confidence: {answer.confidence or 0:.3f}. "
        f"Margin to the next landmark: {margin}. It took {timed.seconds:.2f} s."
    )
    if recogniser.ranking.ranking == "head":
        st.markdown("This bundle ranks by its network's class scores, not by A and C.")
    if recogniser.missing_geometry:
        st.markdown(
            f"The bundle was tuned with the comparison of points, which is disabled: "
            f"{escape_markdown(recogniser.missing_geometry)}."
        )


def _show_evidence(neighbours: Sequence[Neighbour], has_geometry: bool) -> None:
    """Show a table of the neighbours and their numbers."""
    head = ["Gallery image", "Similarity", *(["Points"] if has_geometry else [])]
    head += ["B", "A", "Counts"]
    lines = ["|".join(head), "|".join(["---", *["---:"] * (len(head) - 2), "---"])]
    for n, neighbour in enumerate(neighbours, 1):
        numbers = [neighbour.similarity, *([neighbour.inliers] if has_geometry else [])]
        cells = [f"{n}. {escape_markdown(neighbour.name)}"]
        cells += [f"{x or 0:.3f}" for x in (*numbers, neighbour.b, neighbour.a)]
        lines.append("|".join([*cells, "yes" if neighbour.counts else "no"]))
    st.markdown("\n".join(f"|{line}|" for line in lines))


def _show_matches(
    service: AnswerService, album: Album, image: CheckedImage, neighbour: Neighbour
) -> None:
    other = album.load_image(neighbour.image_id)
    if other is None:
        return
    name = escape_markdown(neighbour.name)
    with st.expander(f"Points that match the image of {name}"):
        picture = run_on_decode_thread(lambda: draw_matches(service, image, other))
        show_picture(picture, "Your image on the left, the gallery's on the right")
        inliers = neighbour.inliers or 0
        st.markdown(f"Their weights sum to {inliers:.1f}; 3 is certain.")


def draw_matches(
    service: AnswerService, image: CheckedImage, other: CheckedImage
) -> NDArray[np.uint8]:
    """Draw two images side by side, with lines between the points that match."""
    from kaggle_kit.local_features.matching import find_inlier_points  # OpenCV
    from kaggle_kit.report.matches import draw_matches as draw_match_picture

    local = service.recogniser.settings.local
    verification = service.recogniser.ranking.verification
    assert verification is not None
    first, second = service.features(image, other)
    return draw_match_picture(
        image.pixels(),
        other.pixels(),
        *find_inlier_points(first, second, verification),
        local.long_side,
    )
