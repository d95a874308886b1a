"""The page of the app; Streamlit runs this file.

Uploads are not written to disk. Streamlit keeps them in memory until the page is closed;
a session caches answers, which contain no pixels.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path

import streamlit as st

from kaggle_kit.app.album import Album
from kaggle_kit.app.answer_view import show_answer
from kaggle_kit.app.answers import AnswerService, TimedAnswer
from kaggle_kit.app.model_view import show_model
from kaggle_kit.backends.uploads import MAX_MB, CheckedImage
from kaggle_kit.data.image_files import read_image
from kaggle_kit.errors import KitError
from kaggle_kit.escaping import escape_markdown

MAX_IMAGES = 12  # answered on one page
CACHED_ANSWERS = 50  # per session
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
def load_bundle(bundle: str, images: str | None) -> tuple[AnswerService, Album]:
    """Load the bundle and its images, once for all sessions."""
    album = Album(Path(bundle), Path(images) if images else None)
    return AnswerService(Path(bundle)), album


def page(bundle: Path, images: Path | None) -> None:
    """Show the page.

    Args:
        images: a competition folder or an exported ``photos/``, for the gallery images.
    """
    st.set_page_config(page_title="Which landmark is it?", page_icon="🏛️")
    st.html(STYLE)
    try:
        service, album = load_bundle(str(bundle), str(images) if images else None)
    except KitError as error:
        st.error(escape_markdown(str(error)))
        return
    st.title("Which landmark is it?")
    recognise, model = st.tabs(["Recognise", "The model"])
    with recognise:
        for name, data in _collect_images(album):
            st.divider()
            _show_image(service, album, name, data)
    with model:
        show_model(bundle, service)


def _collect_images(album: Album) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each upload, example and camera image."""
    files = st.file_uploader(
        f"Drop images of buildings, monuments or sights (up to {MAX_MB} MB each)",
        accept_multiple_files=True,
    )
    example = None
    if album.examples:
        example = st.selectbox(
            "Or pick an example",
            list(album.examples),
            index=None,
            placeholder="Choose one",
        )
    camera_image = None
    if st.toggle("Use the camera"):
        camera_image = st.camera_input("Take a picture")
    for file in files[:MAX_IMAGES]:
        yield file.name, file.getvalue()
    if len(files) > MAX_IMAGES:
        st.warning(f"Only the first {MAX_IMAGES} images are recognised.")
    if example:
        yield example, read_image(album.examples[example])
    if camera_image is not None:
        yield "Your camera", camera_image.getvalue()


def _show_image(service: AnswerService, album: Album, name: str, data: bytes) -> None:
    """Show the answer for an image, or the error in one line."""
    st.subheader(escape_markdown(name), anchor=False)
    try:
        image = CheckedImage(name, data)
        answer = _answer_cached(service, image)
    except KitError as error:
        st.error(escape_markdown(str(error)))
        return
    show_answer(service, album, image, answer)


def _answer_cached(service: AnswerService, image: CheckedImage) -> TimedAnswer:
    """Answer an image, from the cache of the session if it was answered before."""
    cache: dict[str, TimedAnswer] = st.session_state.setdefault("answers", {})
    key = hashlib.sha256(image.data).hexdigest()
    if key not in cache:
        with st.spinner("Recognising…"):
            cache[key] = service.answer(image)
        for oldest in list(cache)[:-CACHED_ANSWERS]:
            del cache[oldest]
    return cache[key]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", type=Path, nargs="?")
    args = parser.parse_args()
    page(args.bundle, args.images)
