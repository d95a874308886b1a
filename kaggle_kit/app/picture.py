"""Show a picture on the page with a text alternative."""

import base64
import io

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from kaggle_kit.escaping import escape_html, one_line

HTML = (
    '<figure style="margin: 0"><img src="data:image/jpeg;base64,{data}" alt="{text}" '
    'style="width: 100%; border-radius: 0.5rem">'
    '<figcaption style="font-size: 0.875rem">{text}</figcaption></figure>'
)


def show_picture(pixels: NDArray[np.uint8], text: str) -> None:
    """Show a picture at full width, with a caption that is also its alt text.

    ``st.image`` has no alt text.
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=88)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    st.html(HTML.format(data=data, text=escape_html(one_line(text))))
