"""Refuse GIF files that decompress to gigabytes, before TensorFlow decodes them.

TensorFlow limits the size of other formats, but not of GIF: a file of half a megabyte can
fill the memory.
"""

import struct
from typing import Any

import tensorflow as tf

# TensorFlow's limit for other formats: 2^29 bytes of pixels. It applies to the sum over all
# frames of a GIF, since TensorFlow decodes all of them.
MOST_PIXELS = 2**29 // 3
FRAME, EXTENSION = 0x2C, 0x21  # block types


def drop_large_gif(image: tf.Tensor) -> tf.Tensor:
    """Return the bytes of an image file, or no bytes if it is a GIF that is too large.

    An empty string does not decode.

    Args:
        image: () string, the bytes of a file of any format.
    """
    is_gif = tf.strings.substr(image, 0, 3) == b"GIF"

    def check() -> tf.Tensor:
        content = tf.numpy_function(
            _empty_if_too_large, [image], tf.string, stateful=False
        )
        return tf.ensure_shape(content, ())

    return tf.cond(is_gif, check, lambda: image)


def pixels(content: bytes) -> int:
    """The number of pixels of all frames of a GIF, up to where the file is cut off."""
    total = 0
    try:
        at = 13 + _colour_table_size(content[10])
        while content[at] in (FRAME, EXTENSION):
            if content[at] == FRAME:
                width, height = struct.unpack_from("<HH", content, at + 5)
                total += width * height
                at += 11 + _colour_table_size(content[at + 9])
            else:
                at += 2
            # data sub-blocks, each preceded by its length; an empty one ends them
            while content[at]:
                at += content[at] + 1
            at += 1
    except (IndexError, struct.error):  # the file is cut off
        pass
    return total


def _empty_if_too_large(content: Any) -> bytes:
    file = content if isinstance(content, bytes) else content.item()  # NumPy: an array
    return file if pixels(file) <= MOST_PIXELS else b""


def _colour_table_size(flags: int) -> int:
    """The size of a colour table in bytes; 0 if the flags say that there is none."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
