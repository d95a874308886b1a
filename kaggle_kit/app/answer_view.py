"""An answer on the page: the landmark, the runners-up, similar photos, and why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kaggle_kit.app.album import Album
from kaggle_kit.app.answers import Answers, TimedAnswer
from kaggle_kit.app.picture import show_picture
from kaggle_kit.app.text import percent, plain
from kaggle_kit.backends.uploads import CheckedImage, run_on_decode_thread
from kaggle_kit.inference.answers import Answer, Candidate, Neighbour

WIDTH = 165  # of a gallery photo, so that two go beside each other on a phone
WHY = """\
Each similar photo counts by **A**: its similarity{inliers}, less **B**, how like photos of
no landmark it is. A landmark's score is summed up over its photos that count; its
confidence is that less **C**, how like photos of no landmark *your* photo is.
"""


def show_answer(
    answers: Answers, album: Album, photo: CheckedImage, timed: TimedAnswer
) -> None:
    """Draw the answer for a photo."""
    answer = timed.answer
    left, right = st.columns([2, 3])
    with left:
        show_picture(photo.preview, "Your photo")
    with right:
        _verdict(answer)
        _runners_up(answer.candidates)
    _similar(album, answer.evidence)
    with st.expander("Why"):
        _why(answers, timed)
    if answers.recogniser.geometry and answer.evidence:
        _matches(answers, album, photo, answer.evidence[0])


def _verdict(answer: Answer) -> None:
    if not answer.candidates:
        st.markdown("**The gallery is empty**: there is no landmark to recognise.")
        return
    best = answer.candidates[0]
    if answer.is_landmark is False:
        st.markdown("#### Probably not a landmark")
        st.markdown(
            f"The nearest is **{plain(best.name)}**, {_probable(best)} likely to be right."
        )
    else:
        st.markdown(f"#### {plain(best.name)}")
        if best.probability is not None:
            st.markdown(f"**{_probable(best)}** likely to be right")
    if best.probability is None:
        st.markdown(
            f"Confidence {best.confidence:.3f}. How probable that is, the bundle does not "
            f"know: it was made without validation photos, or by an earlier version."
        )


def _probable(candidate: Candidate) -> str:
    return percent(candidate.probability or 0.0)


def _runners_up(candidates: Sequence[Candidate]) -> None:
    if len(candidates) < 2:
        return
    lines = ["Runners-up:", ""]
    for candidate in candidates[1:]:
        lines.append(
            f"1. {plain(candidate.name)}, confidence {candidate.confidence:.3f}"
        )
    st.markdown("\n".join(lines))


def _similar(album: Album, similar: Sequence[Neighbour]) -> None:
    found = [(one, album.shown(one.image_id)) for one in similar]
    if not any(pixels is not None for _, pixels in found):
        return
    st.markdown("##### Most similar photos of the gallery")
    with st.container(horizontal=True):
        for n, (one, pixels) in enumerate(found, 1):
            if pixels is None:
                continue
            with st.container(width=WIDTH):
                caption = f"{n}. {one.name}, similarity {one.similarity:.2f}"
                show_picture(pixels, caption)
                _credit(album, one.image_id)


def _credit(album: Album, image_id: str) -> None:
    credit = album.credit(image_id)
    if credit is None:
        return
    text, url = credit
    if url.startswith(("https://", "http://")) and not set(url) & set("<>() \\"):
        st.markdown(f"Photo: [{plain(text)}]({url})")
    else:
        st.markdown(f"Photo: {plain(text)}")


def _why(answers: Answers, timed: TimedAnswer) -> None:
    answer, recogniser = timed.answer, answers.recogniser
    has_geometry = recogniser.geometry is not None
    inliers = " and the points that match" if has_geometry else ""
    st.markdown(WHY.format(inliers=inliers))
    head = ["Gallery photo", "Similarity", *(["Points"] if has_geometry else [])]
    head += ["B", "A", "Counts"]
    lines = ["|".join(head), "|".join(["---", *["---:"] * (len(head) - 2), "---"])]
    for n, one in enumerate(answer.evidence, 1):
        numbers = [one.similarity, *([one.inliers] if has_geometry else [])]
        cells = [f"{n}. {plain(one.name)}"]
        cells += [f"{x or 0:.3f}" for x in (*numbers, one.b, one.a)]
        lines.append("|".join([*cells, "yes" if one.counts else "no"]))
    st.markdown("\n".join(f"|{line}|" for line in lines))
    margin = "none" if answer.margin is None else f"{answer.margin:.3f}"
    st.markdown(
        f"C of your photo: {answer.c:.3f}. Confidence: {answer.confidence or 0:.3f}. Margin to the next "
        f"landmark: {margin}. It took {timed.seconds:.2f} s."
    )
    if recogniser.ranking.ranking == "head":
        st.markdown("This bundle ranks by its network's class scores, not by A and C.")
    if recogniser.missing_geometry:
        st.markdown(
            f"The comparison of points that the bundle was tuned with is left out: "
            f"{plain(recogniser.missing_geometry)}."
        )


def _matches(
    answers: Answers, album: Album, photo: CheckedImage, one: Neighbour
) -> None:
    other = album.photo(one.image_id)
    if other is None:
        return
    with st.expander(f"Points that match the photo of {plain(one.name)}"):
        caption = "Your photo on the left, the gallery's on the right"
        show_picture(
            run_on_decode_thread(lambda: matched_picture(answers, photo, other)),
            caption,
        )
        st.markdown(f"Weighed, they come to {one.inliers or 0:.1f}; 3 is certain.")


def matched_picture(
    answers: Answers, photo: CheckedImage, other: CheckedImage
) -> NDArray[np.uint8]:
    """Two photos, shrunk as their points were found, and lines between these."""
    from kaggle_kit.local_features.matching import find_inlier_points  # OpenCV
    from kaggle_kit.report.matches import draw_matches

    local = answers.recogniser.settings.local
    verification = answers.recogniser.ranking.verification
    assert verification is not None
    one, two = answers.features(photo, other)
    return draw_matches(
        photo.pixels(),
        other.pixels(),
        *find_inlier_points(one, two, verification),
        local.long_side,
    )
