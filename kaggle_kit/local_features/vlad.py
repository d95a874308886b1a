"""VLAD: the local features of an image aggregated into one vector, without a network.

Each descriptor is assigned to its nearest visual word, and its residual to that word is
summed per word (Jégou et al., CVPR 2010).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.errors import ArtefactError
from kaggle_kit.retrieval.whitening import normalise
from kaggle_kit.storage import arrays

# Most that the length of a RootSIFT descriptor may be: 512, and half a unit of rounding in
# each of 128 dimensions. A visual word is a mean of descriptors.
LONGEST = 512 + 0.5 * 128**0.5
LEAST = 1e-3  # of a visual word that is not zero


@dataclass(frozen=True)
class Vocabulary:
    """The visual words that descriptors are assigned to.

    Attributes:
        words: (k, d) float32, in the units of the descriptors.
    """

    words: NDArray[np.float32]

    def save(self, path: Path) -> None:
        """Write the visual words as one array.

        Raises:
            ArtefactError: a number is not finite or out of range; nothing is written.
        """
        problem = self._find_fault()
        if problem:
            raise ArtefactError(
                f"{path}: expected means of descriptors, got {problem}; check the images"
            )
        with path.open("wb") as file:
            np.save(file, self.words, allow_pickle=False)

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read the visual words from a file.

        Raises:
            ArtefactError: the file is missing, damaged or of another kind.
        """
        try:
            words = arrays.load_array(path)
        except arrays.DAMAGE as error:
            raise ArtefactError(
                f"{path}: expected visual words, got {error!r:.200}; make the bundle again"
            ) from None
        if (words.dtype, words.ndim) != (np.float32, 2) or not len(words):
            raise ArtefactError(
                f"{path}: expected visual words, a matrix of float32, got {words.dtype} of "
                f"shape {words.shape}; make the bundle again"
            )
        vocabulary = cls(words)
        problem = vocabulary._find_fault()
        if problem:
            raise ArtefactError(
                f"{path}: expected visual words, means of descriptors, got {problem}; make "
                f"the bundle again"
            )
        return vocabulary

    def _find_fault(self) -> str | None:
        """Describe what is wrong with the numbers; None if nothing is."""
        try:
            is_any = arrays.require_lengths("words", self.words, LEAST, LONGEST)
        except ValueError as error:
            return str(error)
        return None if is_any else "zeros in all words"


def vlad(
    descriptors: NDArray[np.uint8], words: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The vector of an image, (k * d,) of unit length; zeros if there is no descriptor.

    ::

        V_w = sum of (x - w) over the descriptors x whose nearest word is w
        vector = concatenation of all V_w / |V_w|, normalised to length 1

    Every word has the same weight, so a repeated pattern, such as windows, does not
    dominate (intra-normalisation: Arandjelović & Zisserman, CVPR 2013).

    Args:
        descriptors: (n, d).
        words: (k, d).
    """
    x = descriptors.astype(np.float32)
    sums = np.zeros_like(words, dtype=np.float32)
    if len(x):
        nearest = assign_words(x, words)
        is_word = nearest[None, :] == np.arange(len(words))[:, None]
        member = is_word.astype(np.float32)
        sums = member @ x - member.sum(axis=1, keepdims=True) * words
    return normalise(normalise(sums).ravel())


def assign_words(
    x: NDArray[np.float32], words: NDArray[np.float32]
) -> NDArray[np.intp]:
    """Assign each row of x to its nearest word, (n,); on a tie to the first one."""
    return ((words**2).sum(axis=1) - 2 * (x @ words.T)).argmin(axis=1)
