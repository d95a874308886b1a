"""Perceptual hashes: 192 bits, nearly all of which near-duplicates of an image share.

A hash is three words of 64 bits, each of the grey image::

    rows         in 9 x 8 pixels, a pixel is brighter than its left neighbour
    columns      in 8 x 9 pixels, a pixel is brighter than the one above it
    frequencies  in 32 x 32 pixels, a coefficient of the cosine transform is positive;
                 those with 1 to 8 half waves in each direction

The first two are a difference hash, which finds pairs; the third confirms them (see
``data.near_duplicates``). No coefficient of it is without waves in one direction, so it does
not see what confuses the others: layers of sky, sea and ground.
"""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WORDS = 3  # of 64 bits
DIGITS = 16 * WORDS  # hexadecimal, of a hash as text
TEXT = re.compile(rf"([0-9a-f]{{{DIGITS}}})?")  # of a hash in a table
SIDE = 48  # a JPEG is not reduced below this shorter side: its blocks would show
FLAT = 3.0  # standard deviation of grey values, of 255, below which noise sets the bits
# Integers, with which every machine computes the same signs.
COSINES = np.rint(
    1024 * np.cos(np.pi / 64 * np.outer(np.arange(1, 9), 2 * np.arange(32) + 1))
).astype(np.int64)


def hash_image(pixels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hash an upright image, (h, w, 3) uint8 -> (3,): rows, columns, frequencies.

    Some images have a digest of their pixels instead: those without contrast, such as a
    black one, and those without any bit, such as a gradient. They are near their exact
    copies alone.
    """
    grey = Image.fromarray(pixels).convert("L")
    rows, columns, square = (
        _shrink(grey, *size) for size in ((9, 8), (8, 9), (32, 32))
    )
    bits = (
        np.diff(rows, axis=1) > 0,
        np.diff(columns, axis=0) > 0,
        COSINES @ square @ COSINES.T > 0,
    )
    content = np.packbits([part.ravel() for part in bits]).tobytes()
    if rows.std() < FLAT or not any(content):
        shape = repr(pixels.shape).encode()
        content = hashlib.blake2b(
            shape + pixels.tobytes(), digest_size=8 * WORDS
        ).digest()
    return _unpack(content)[0]


def format_hash(value: NDArray[np.uint64]) -> str:
    """A hash as text: hexadecimal digits, or "" for no hash.

    >>> format_hash(np.array([1, 2, 255], np.uint64))
    '0000000000000001000000000000000200000000000000ff'
    """
    return value.astype(">u8").tobytes().hex() if value.any() else ""


def parse_hashes(texts: Sequence[str]) -> NDArray[np.uint64]:
    """The hashes of n texts that match ``TEXT``, (n, 3); a row of zeros is no hash.

    >>> parse_hashes(["0000000000000001000000000000000200000000000000ff", ""]).tolist()
    [[1, 2, 255], [0, 0, 0]]
    """
    no_hash = "0" * DIGITS
    return _unpack(bytes.fromhex("".join(text or no_hash for text in texts)))


def _unpack(content: bytes) -> NDArray[np.uint64]:
    """Bytes, 24 for each hash -> (n, 3)."""
    return np.frombuffer(content, ">u8").reshape(-1, WORDS).astype(np.uint64)


def _shrink(grey: Image.Image, width: int, height: int) -> NDArray[np.int64]:
    """Resize a grey image, with antialiasing -> (height, width)."""
    resized = grey.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.int64)
