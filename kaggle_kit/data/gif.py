"""GIFs that unpack to more than memory: half a megabyte may become gigabytes.

TensorFlow's other decoders refuse photos of billions of pixels, the one of GIFs does not.
"""

import struct
from typing import Any

import tensorflow as tf

# TensorFlow's own limit for photos of other kinds: 2^29 bytes of pixels. Of a GIF it is that
# of all its pictures, since all are unpacked.
MOST_PIXELS = 2**29 // 3
PICTURE, EXTENSION = 0x2C, 0x21


def bounded(photo: tf.Tensor) -> tf.Tensor:
    """A photo, () bytes, as it is; empty, so that it does not decode, if it is too large a GIF."""
    is_gif = tf.strings.substr(photo, 0, 3) == b"GIF"

    def checked() -> tf.Tensor:
        kept = tf.numpy_function(_kept, [photo], tf.string, stateful=False)
        return tf.ensure_shape(kept, ())

    return tf.cond(is_gif, checked, lambda: photo)


def pixels(content: bytes) -> int:
    """How many pixels the pictures of a GIF have together, as far as it is whole."""
    total = 0
    try:
        at = 13 + _colours(content[10])
        while content[at] in (PICTURE, EXTENSION):
            if content[at] == PICTURE:
                width, height = struct.unpack_from("<HH", content, at + 5)
                total += width * height
                at += 11 + _colours(content[at + 9])
            else:
                at += 2
            # blocks of data, each with its length, up to an empty one
            while content[at]:
                at += content[at] + 1
            at += 1
    except (IndexError, struct.error):  # it is cut off
        pass
    return total


def _kept(content: Any) -> bytes:
    whole = content if isinstance(content, bytes) else content.item()  # of an array
    return whole if pixels(whole) <= MOST_PIXELS else b""


def _colours(flags: int) -> int:
    """The bytes of a table of colours, if there is one."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
