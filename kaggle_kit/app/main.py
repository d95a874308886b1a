"""The page: photos go in, answers come out. Streamlit runs this file.

Nothing of an upload is written: Streamlit holds it in memory until the page is closed,
and of an answer the session keeps the numbers alone.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path

import streamlit as st

from kaggle_kit.app.album import Album
from kaggle_kit.app.answer_view import show_answer
from kaggle_kit.app.answers import Answers, TimedAnswer
from kaggle_kit.app.model_view import show_model
from kaggle_kit.app.text import plain
from kaggle_kit.backends.uploads import MAX_MB, CheckedImage
from kaggle_kit.errors import KitError

AT_ONCE = 12  # photos answered on one page
REMEMBERED = 50  # answers of a session
STYLE = """<style>
[data-testid="stCaptionContainer"], [data-testid="stImageCaption"],
[data-testid="stFileUploaderDropzoneInstructions"] *,
[data-testid="stFileUploaderFile"] * { color: #4a4c56 !important; opacity: 1; }
@media (max-width: 640px) {
  [data-testid="stMarkdownContainer"] :is(td, th) { padding: 0.25rem; }
  [data-testid="stMarkdownContainer"] table { font-size: 0.85rem; }
  h1 { font-size: 1.9rem !important; }
}
</style>"""


@st.cache_resource(show_spinner="Loading the model…")
def loaded(bundle: str, photos: str | None) -> tuple[Answers, Album]:
    """The bundle and its photos: once for all sessions."""
    album = Album(Path(bundle), Path(photos) if photos else None)
    return Answers(Path(bundle)), album


def page(bundle: Path, photos: Path | None) -> None:
    """Draw the page.

    Args:
        photos: a competition folder or an exported ``photos/``, for the gallery photos.
    """
    st.set_page_config(page_title="Which landmark is it?", page_icon="🏛️")
    st.html(STYLE)
    try:
        answers, album = loaded(str(bundle), str(photos) if photos else None)
    except KitError as error:
        st.error(plain(str(error)))
        return
    st.title("Which landmark is it?")
    ask, model = st.tabs(["Recognise", "The model"])
    with ask:
        for name, data in _asked(album):
            st.divider()
            _answer(answers, album, name, data)
    with model:
        show_model(bundle, answers)


def _asked(album: Album) -> Iterator[tuple[str, bytes]]:
    """The photos that are to be recognised: name and content."""
    files = st.file_uploader(
        f"Drop photos of buildings, monuments or sights (up to {MAX_MB} MB each)",
        accept_multiple_files=True,
    )
    chosen = None
    if album.examples:
        chosen = st.selectbox(
            "Or pick an example",
            list(album.examples),
            index=None,
            placeholder="Choose one",
        )
    taken = None
    if st.toggle("Use the camera"):
        taken = st.camera_input("Take a photo")
    for file in files[:AT_ONCE]:
        yield file.name, file.getvalue()
    if len(files) > AT_ONCE:
        st.warning(f"Only the first {AT_ONCE} photos are looked at.")
    if chosen:
        yield chosen, album.examples[chosen].read_bytes()
    if taken is not None:
        yield "Your camera", taken.getvalue()


def _answer(answers: Answers, album: Album, name: str, data: bytes) -> None:
    """One photo's answer, or one line that says why there is none."""
    st.subheader(plain(name), anchor=False)
    try:
        photo = CheckedImage(name, data)
        answer = _remembered(answers, photo)
    except KitError as error:
        st.error(plain(str(error)))
        return
    show_answer(answers, album, photo, answer)


def _remembered(answers: Answers, photo: CheckedImage) -> TimedAnswer:
    """The answer; what was asked before in this session is not computed again."""
    known: dict[str, TimedAnswer] = st.session_state.setdefault("answers", {})
    key = hashlib.sha256(photo.data).hexdigest()
    if key not in known:
        with st.spinner("Looking…"):
            known[key] = answers.answer(photo)
        for old in list(known)[:-REMEMBERED]:
            del known[old]
    return known[key]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos", type=Path, nargs="?")
    given = parser.parse_args()
    page(given.bundle, given.photos)
