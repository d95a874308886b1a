"""A picture on the page with words for those who do not see it."""

import base64
import html
import io

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

HTML = (
    '<figure style="margin: 0"><img src="data:image/jpeg;base64,{data}" alt="{text}" '
    'style="width: 100%; border-radius: 0.5rem">'
    '<figcaption style="font-size: 0.875rem">{text}</figcaption></figure>'
)


def show_picture(pixels: NDArray[np.uint8], text: str) -> None:
    """Draw a picture as wide as there is room; Streamlit's own has no such words."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=88)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    st.html(HTML.format(data=data, text=html.escape(text)))
