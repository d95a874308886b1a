"""An answer on the page: the landmark, the runners-up, similar photos, and why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kaggle_kit.app.album import Album
from kaggle_kit.app.answers import Answer, Answers, Candidate, Similar
from kaggle_kit.app.picture import show_picture
from kaggle_kit.app.text import percent, plain
from kaggle_kit.backends.uploads import Photo, alone

WIDTH = 165  # of a gallery photo, so that two go beside each other on a phone
WHY = """\
Each similar photo counts by **A**: its similarity{inliers}, less **B**, how like photos of
no landmark it is. A landmark's score is summed up over its photos that count; its
confidence is that less **C**, how like photos of no landmark *your* photo is.
"""


def show_answer(answers: Answers, album: Album, photo: Photo, answer: Answer) -> None:
    """Draw the answer for a photo."""
    left, right = st.columns([2, 3])
    with left:
        show_picture(photo.shown, "Your photo")
    with right:
        _verdict(answers, answer)
        _runners_up(answer.candidates)
    _similar(album, answer.similar)
    with st.expander("Why"):
        _why(answers, answer)
    if answers.geometry and answer.similar:
        _matches(answers, album, photo, answer.similar[0])


def _verdict(answers: Answers, answer: Answer) -> None:
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


def _similar(album: Album, similar: Sequence[Similar]) -> None:
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


def _why(answers: Answers, answer: Answer) -> None:
    inliers = " and the points that match" if answers.geometry else ""
    st.markdown(WHY.format(inliers=inliers))
    head = ["Gallery photo", "Similarity", *(["Points"] if answers.geometry else [])]
    head += ["B", "A", "Counts"]
    lines = ["|".join(head), "|".join(["---", *["---:"] * (len(head) - 2), "---"])]
    for n, one in enumerate(answer.similar, 1):
        numbers = [one.similarity, *([one.inliers] if answers.geometry else [])]
        cells = [f"{n}. {plain(one.name)}"]
        cells += [f"{x or 0:.3f}" for x in (*numbers, one.b, one.a)]
        lines.append("|".join([*cells, "yes" if one.counts else "no"]))
    st.markdown("\n".join(f"|{line}|" for line in lines))
    margin = "none" if answer.margin is None else f"{answer.margin:.3f}"
    best = answer.candidates[0].confidence if answer.candidates else 0.0
    st.markdown(
        f"C of your photo: {answer.c:.3f}. Confidence: {best:.3f}. Margin to the next "
        f"landmark: {margin}. It took {answer.seconds:.2f} s."
    )
    if answers.settings.ranking == "head":
        st.markdown("This bundle ranks by its network's class scores, not by A and C.")
    if answers.without_geometry:
        st.markdown(
            f"The comparison of points that the bundle was tuned with is left out: "
            f"{plain(answers.without_geometry)}."
        )


def _matches(answers: Answers, album: Album, photo: Photo, one: Similar) -> None:
    other = album.photo(one.image_id)
    if other is None:
        return
    with st.expander(f"Points that match the photo of {plain(one.name)}"):
        caption = "Your photo on the left, the gallery's on the right"
        show_picture(alone(lambda: matched_picture(answers, photo, other)), caption)
        st.markdown(f"Weighed, they come to {one.inliers or 0:.1f}; 3 is certain.")


def matched_picture(answers: Answers, photo: Photo, other: Photo) -> NDArray[np.uint8]:
    """Two photos, shrunk as their points were found, and lines between these."""
    from kaggle_kit.local_features.matching import matches  # OpenCV
    from kaggle_kit.report.matches import draw_matches

    local = answers.recogniser.settings.local
    verification = answers.settings.verification
    assert verification is not None
    one, two = answers.matched(photo, other)
    return draw_matches(
        photo.pixels(),
        other.pixels(),
        *matches(one, two, verification),
        local.long_side,
    )
